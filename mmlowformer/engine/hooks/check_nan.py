"""Trainings that compute NaN stop, before a checkpoint is lost to it."""
import math

import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from ...errors import UserError
from ...utils.safe_load import first_nonfinite

# float16 training skips steps whose gradients overflow, and goes on.
PATIENCE = 50


class StopAtNaN(Hook):
    """Ends a training whose weights or loss are NaN or infinite for good.

    A loss may be so once: with automatic mixed precision such a step changes
    nothing. The training ends when a weight is, or after 50 such losses in a
    row; weights are also looked at before each checkpoint.
    """

    # Before CheckpointHook writes.
    priority = 'BELOW_NORMAL'

    def __init__(self):
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
            f'stopped after iteration {iteration}: {what}. Nothing of '
            f'it was saved; checkpoints in {runner.work_dir} are from before. '
            'A smaller learning rate, a longer warm-up, or '
            'optim_wrapper.clip_grad.max_norm=1 may help, then start again or '
            '--resume; --allow-nan goes on all the same.')
