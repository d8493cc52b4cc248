"""Training in bfloat16, on a CPU as on a GPU."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

# On import, mmcv's operators take bfloat16.
from ...ops import mmcv_ops  # noqa: F401
from ...registry import OPTIM_WRAPPERS
from ...utils.console import warn
from ...utils.device import has_instructions

# Of the heads of MMDetection and MMSegmentation: they decode boxes, assign
# targets and compute losses.
FLOAT32_METHODS = ('loss_by_feat', 'loss_and_target', 'predict_by_feat')


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Trains with bfloat16 autocast, on a CPU or a GPU.

    MMEngine's ``AmpOptimWrapper`` needs a GPU. Weights, gradients, the
    optimizer's state and losses are float32, so checkpoints are those of a
    training in float32. bfloat16 has the range of float32 and needs no loss
    scaling. Warns on a CPU without bfloat16 instructions, where it is slower
    than float32.

    Args:
        *args: See ``mmengine.optim.OptimWrapper``.
        **kwargs: See ``mmengine.optim.OptimWrapper``: ``optimizer``,
            ``accumulative_counts`` and ``clip_grad``.

    Example:
        >>> optim_wrapper = dict(
        ...     type='mmlowformer.BFloat16OptimWrapper',
        ...     optimizer=dict(type='AdamW', lr=1e-4, fused=True))
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        weight = self.optimizer.param_groups[0]['params'][0]
        if (weight.device.type == 'cpu'
                and not has_instructions(torch.bfloat16)):
            warn('This CPU has no bfloat16 instructions and emulates them, '
                 'which is slower than float32: train without --amp.')

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute in bfloat16, but losses in float32.

        Args:
            model (nn.Module): The model, wrapped for distributed training or
                not.
        """
        device = next(model.parameters()).device.type
        with (super().optim_context(model), float32_losses(model, device),
              torch.autocast(device, torch.bfloat16)):
            yield


@contextmanager
def float32_losses(model: nn.Module, device: str) -> Iterator[None]:
    """Let the losses of a model compute in float32 under autocast."""
    changed = []
    for module in model.modules():
        names = [name for name in FLOAT32_METHODS if hasattr(module, name)]
        if type(module).__name__.endswith('Loss'):
            names.append('forward')
        for name in names:
            changed.append((module, name, vars(module).get(name)))
            vars(module)[name] = _in_float32(getattr(module, name), device)
    try:
        yield
    finally:
        for module, name, before in changed:
            vars(module).pop(name)
            if before is not None:
                vars(module)[name] = before


def _in_float32(method: Callable, device: str) -> Callable:

    @wraps(method)
    def method_in_float32(*args, **kwargs):
        with torch.autocast(device, enabled=False):
            return method(*_as_float32(args), **_as_float32(kwargs))

    return method_in_float32


def _as_float32(value):
    """Cast the low-precision tensors in tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return (value.float() if value.dtype in (
            torch.bfloat16, torch.float16) else value)
    # A ConfigDict stays one, and has no tensors.
    if type(value) is dict:
        return {key: _as_float32(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(map(_as_float32, value))
    return value
