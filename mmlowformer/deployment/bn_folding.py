"""Folding BatchNorms into the preceding convolutions.

The preceding convolution is observed in a run, not guessed from the order of a
module's children: an activation or a second user of the outputs may stand in
between, and convolutions or norms may be shared.
"""
from collections.abc import Callable
from functools import partial
from operator import is_
from typing import TypeGuard

import mmcv.cnn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.overrides import TorchFunctionMode

from ..ops.module_utils import replace_modules
from ..utils.tensors import tensors_in
from .tracing import intercept_forward, run_network

# Exact types: subclasses may use their weights in another way.
LINEAR = (nn.Linear, mmcv.cnn.Linear)
CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d,
    nn.ConvTranspose3d, mmcv.cnn.Conv2d, mmcv.cnn.Conv3d,
    mmcv.cnn.ConvTranspose2d, mmcv.cnn.ConvTranspose3d, *LINEAR)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class _Users(TorchFunctionMode):
    """Records which modules make and use the outputs of convolutions.

    As a forward hook it sees modules, as a mode the functions that they call.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.sources: dict[_BatchNorm, set[nn.Module | None]] = {}
        self.users: dict[nn.Module, set[nn.Module]] = {}
        self._makers: dict[int, nn.Module] = {}
        self._owners = {id(module.weight): module for module in
                        model.modules() if type(module) in CONVOLUTIONS}
        # Another tensor might get the id of a deleted one.
        self._kept: list[Tensor] = []
        self._running: list[nn.Module] = []

    def __call__(self, name: str, module: nn.Module, forward: Callable,
                 *args, **kwargs):
        if _is_norm(module):
            self.sources.setdefault(module, set()).update(
                self._makers.get(id(tensor)) for tensor in args)
        self._running.append(module)
        try:
            outputs = forward(*args, **kwargs)
        finally:
            self._running.pop()
        if type(module) in CONVOLUTIONS:
            self._makers[id(outputs)] = module
            self._kept.append(outputs)
        return outputs

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """See ``torch.overrides.TorchFunctionMode``."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # Reading sizes and the like is no use of the values.
        if tensors_in(result):
            self.note_use([args, kwargs], self._running[-1:])
        return result

    def note_use(self, values, users: list[nn.Module]) -> None:
        for tensor in tensors_in(values):
            maker = self._makers.get(id(tensor))
            owner = self._owners.get(id(tensor))
            if maker is not None:
                self.users.setdefault(maker, set()).update(users)
            # Some modules use the weight of another without calling it.
            if owner is not None and [owner] != users:
                self.users.setdefault(owner, set()).update(users)


def fold_batch_norms(model: nn.Module, images: Tensor) -> list[str]:
    """Fold BatchNorms in place; return the names of those that remain.

    A BatchNorm is folded if its inputs are always the outputs of convolutions
    or linear layers that nothing else uses. A shared BatchNorm is folded into
    each of them. Norms remain behind a convolution that several norms share,
    as in RetinaSepBNHead, and behind computed weights, as of a spectral norm.
    """
    users = _Users(model)
    with intercept_forward(dict(model.named_modules()), users), users:
        outputs = run_network(model, images)
    users.note_use(outputs, [model])
    names = {module: name for name, module in model.named_modules()}
    left = []
    for norm, sources in users.sources.items():
        if _can_fold(norm, sources, users):
            for source in filter(None, sources):
                _fold(source, norm)
            # Modules that read their norm need one.
            replace_modules(model, partial(is_, norm),
                            lambda _: nn.Identity())
        else:
            left.append(names[norm])
    return left


def _can_fold(norm: _BatchNorm, sources: set[nn.Module | None],
              users: _Users) -> bool:
    return (not norm.training and norm.running_mean is not None
            and not _is_hooked(norm)
            and all(_is_foldable(source) and users.users[source] == {norm}
                    for source in sources))


def _is_norm(module: nn.Module) -> TypeGuard[_BatchNorm]:
    return type(module) in NORMS


def _is_foldable(source: nn.Module | None) -> TypeGuard[nn.Module]:
    if source is None or _is_hooked(source):
        return False
    # Each group's kernels would have to be scaled separately.
    if isinstance(source, _ConvTransposeNd) and source.groups > 1:
        return False
    return 'weight' in source._parameters


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _fold(source: nn.Module, norm: _BatchNorm) -> None:
    # For mypy.
    assert norm.running_mean is not None
    assert norm.running_var is not None
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight,
                  norm.bias)
    if isinstance(source, nn.Linear):
        fused = fuse_linear_bn_weights(source.weight, source.bias, *statistics)
    elif isinstance(source, _ConvNd):
        fused = fuse_conv_bn_weights(
            source.weight, source.bias, *statistics,
            transpose=isinstance(source, _ConvTransposeNd))
    source.weight, source.bias = fused
