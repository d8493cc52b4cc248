"""Stop a training that computes NaN, before it replaces a checkpoint."""
import math

import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ...errors import UserError
from ...registry import HOOKS
from ...utils.safe_load import first_nonfinite
from . import SwitchableHook

# Training in float16 skips steps whose gradients overflow.
PATIENCE = 50


@HOOKS.register_module()
class CheckNaNHook(SwitchableHook):
    """Stops a training whose weights or loss stay NaN or infinite.

    A single such loss is normal with automatic mixed precision, which skips
    the step. The training stops when a weight is NaN or infinite, which is
    checked before each checkpoint, or after 50 such losses in a row.

    Args:
        enabled (bool): Whether to check. Defaults to True.
    """

    # Before CheckpointHook writes.
    priority = 'BELOW_NORMAL'

    def __init__(self, enabled: bool = True):
        super().__init__()
        self._losses_in_a_row = 0

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs: dict | None = None) -> None:
        """Look at the loss, and at the weights if they are to be saved."""
        loss = torch.as_tensor((outputs or {}).get('loss', 0.)).item()
        if not math.isfinite(loss):
            self._losses_in_a_row += 1
            self._check_weights(runner, runner.iter + 1)
            if self._losses_in_a_row >= PATIENCE:
                self._stop(runner, runner.iter + 1, 'the loss was '
                           f'{loss} {PATIENCE} times in a row')
        else:
            self._losses_in_a_row = 0
        if any(isinstance(hook, CheckpointHook) and not hook.by_epoch
               and hook.every_n_train_iters(runner, hook.interval)
               for hook in runner.hooks):
            self._check_weights(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at the weights that may be saved."""
        # Counted already.
        self._check_weights(runner, runner.iter)

    def _check_weights(self, runner: Runner, iteration: int) -> None:
        name = first_nonfinite(runner.model.state_dict())
        if name:
            self._stop(runner, iteration, f'{name} holds NaN or infinity')

    @staticmethod
    def _stop(runner: Runner, iteration: int, what: str) -> None:
        raise UserError(
            f'stopped after iteration {iteration}: {what}. No checkpoint in '
            f'{runner.work_dir} contains it. Lower the learning rate, warm up '
            'longer, or set optim_wrapper.clip_grad.max_norm=1; then start '
            'again, or --resume. --allow-nan, or default_hooks.check_nan.'
            'enabled=False, trains on.')
