"""Train with weights in the memory format that is faster."""
import gc

import torch
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from ...ops.module_utils import to_channels_last
from ...registry import HOOKS
from ..optimizers.bfloat16 import BFloat16OptimWrapper
from . import SwitchableHook


@HOOKS.register_module()
class MemoryFormatHook(SwitchableHook):
    """Trains with channels-last weights where that is faster.

    Weights, averaged weights and the optimizer's state keep their values, and
    checkpoints contain contiguous tensors as always. Therefore a training can
    be resumed with or without channels-last weights.

    After a resume, the optimizer's ``fused`` and ``foreach`` are those of the
    config, not those of the checkpoint.

    Args:
        channels_last (bool | str): Whether to use channels-last weights.
            ``'auto'`` uses them on a CPU in bfloat16
            (:class:`.BFloat16OptimWrapper`) for models with 2D convolutions.
            Defaults to ``'auto'``.
        enabled (bool): Whether to do anything. Defaults to True.

    Raises:
        ValueError: If ``channels_last`` is neither a bool nor ``'auto'``.
    """

    # After EMAHook, whose weights it converts, and before RunSummaryHook.
    priority = 'BELOW_NORMAL'

    def __init__(self, channels_last: bool | str = 'auto',
                 enabled: bool = True):
        super().__init__()
        if channels_last not in (True, False, 'auto'):
            raise ValueError("channels_last has to be True, False or 'auto', "
                             f'not {channels_last!r}')
        self.channels_last = channels_last

    def before_train(self, runner: Runner) -> None:
        """Convert the weights, and the state that belongs to them."""
        if self.channels_last == 'auto':
            self.channels_last = _is_faster(runner)
        if self.channels_last:
            _convert(runner)
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    to_channels_last(hook.ema_model)
        wrappers = getattr(runner.optim_wrapper, 'optim_wrappers',
                           {'': runner.optim_wrapper})
        for wrapper in wrappers.values():
            match_state(wrapper.optimizer)

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Save contiguous tensors."""
        for name in ('state_dict', 'ema_state_dict'):
            weights = checkpoint.get(name, {})
            # In place, as it has metadata.
            for key, value in weights.items():
                weights[key] = _contiguous(value)
        if 'optimizer' in checkpoint:
            checkpoint['optimizer'] = _contiguous(checkpoint['optimizer'])

    def describe_speed(self) -> str:
        """Describe the memory format, for the summary of a training."""
        return 'channels-last' if self.channels_last else ''


def _is_faster(runner: Runner) -> bool:
    weight = next(runner.model.parameters())
    return (weight.device.type == 'cpu'
            and isinstance(runner.optim_wrapper, BFloat16OptimWrapper)
            and any(isinstance(module, nn.Conv2d)
                    for module in runner.model.modules()))


def _convert(runner: Runner) -> None:
    to_channels_last(runner.model)
    if isinstance(runner.model, DistributedDataParallel):
        # It keeps the strides that the weights had when it was created, and
        # torch would reduce wrong gradients in the first iteration.
        runner.model = runner.model.module
        # Its hooks on the gradients end with it.
        gc.collect()
        runner.model = runner.wrap_model(
            runner.cfg.get('model_wrapper_cfg'), runner.model)


def match_state(optimizer: Optimizer) -> None:
    """Make a loaded state match the weights and settings of an optimizer.

    torch's fused optimizers on a CPU ignore strides: with those of another
    memory format, they silently update the wrong weights.
    """
    for group in optimizer.param_groups:
        for name in ('fused', 'foreach'):
            if name in optimizer.defaults:
                group[name] = optimizer.defaults[name]
        for weight in group['params']:
            state = optimizer.state.get(weight, {})
            for name, value in state.items():
                if isinstance(value, Tensor):
                    state[name] = _matching(value, weight, group)


def _matching(value: Tensor, weight: Tensor, group: dict) -> Tensor:
    if value.shape == weight.shape and value.stride() != weight.stride():
        return torch.empty_like(weight, dtype=value.dtype).copy_(value)
    # Such as the number of steps.
    return value.to(weight.device) if group.get('fused') else value


def _contiguous(value):
    return apply_to(value, lambda item: isinstance(item, Tensor),
                    Tensor.contiguous)
