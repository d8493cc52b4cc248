"""Convolutions that convert their weights for oneDNN once, not in each call.

oneDNN, which computes torch's convolutions on x86, has layouts of its own for
weights; the best one depends on the size of the feature maps. torch converts
weights in each call; compilers do so once, with the same two operators.
"""
import platform
from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..utils.allocator import return_free_memory
from .chunking import is_exporting

# Values that are compared to see whether a weight has changed.
SAMPLE_SIZE = 16
DTYPES = (torch.float32, torch.bfloat16)
# Below, torch convolves without oneDNN, whose calls alone take longer.
MIN_MACS = 2_000_000
OPERATORS = ('_convolution_pointwise', '_reorder_convolution_weight',
             '_get_mkldnn_serialized_md')
X86 = ('x86_64', 'AMD64', 'i386')


class Snapshot(NamedTuple):
    """State of a weight, to tell later whether it has changed."""

    weight: Tensor
    version: int
    address: int
    # A view of some values, and what they were.
    values: Tensor
    copies: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> 'Snapshot':
        """Take a snapshot of a weight that :func:`is_dense`."""
        values = _sample(weight.detach())
        return cls(weight, weight._version, weight.data_ptr(), values,
                   values.clone())

    def is_current(self, weight: Tensor) -> bool:
        """Whether it is the same weight, unchanged.

        Fused optimizers and writes through ``weight.data`` do not count up the
        version.
        """
        return (weight is self.weight and weight._version == self.version
                and weight.data_ptr() == self.address
                and torch.equal(self.values, self.copies))


class ConvSettings(NamedTuple):
    """Settings of a convolution, in the order of torch's operators."""

    padding: tuple[int, ...] = (0, 0)
    stride: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1


class PackedWeight(NamedTuple):
    """A convolution's weight in oneDNN's layout for one size of maps."""

    values: Tensor
    size: torch.Size
    source: Snapshot


def _sample(weight: Tensor) -> Tensor:
    """Evenly spaced values, in the order in which they lie in memory."""
    step = max(1, weight.numel() // SAMPLE_SIZE)
    return torch.as_strided(weight, (-(-weight.numel() // step), ), (step, ))


def is_dense(weight: Tensor) -> bool:
    """Whether a weight has no gaps in memory, and counts its changes."""
    if not torch.compiler.is_compiling() and weight.is_inference():
        return False
    return (weight.is_contiguous(memory_format=torch.channels_last)
            or weight.is_contiguous())


def infers_on_cpu(x: Tensor, weight: Tensor,
                  dtypes: tuple[torch.dtype, ...]) -> bool:
    """Whether this is inference on a CPU, in one of the data types."""
    return (not torch.is_grad_enabled() and not _autocasts()
            and not is_exporting()
            and x.device.type == weight.device.type == 'cpu'
            and x.dtype == weight.dtype and x.dtype in dtypes
            and is_dense(weight))


def _autocasts() -> bool:
    try:
        return torch.is_autocast_enabled('cpu')
    except TypeError:  # torch before 2.4
        return torch.is_autocast_cpu_enabled()


# A compiler calls it once and keeps the result.
@torch.compiler.assume_constant_result
def can_pack() -> bool:
    """Whether oneDNN has layouts for this CPU, and torch the operators."""
    return _can_pack()


@cache
def _can_pack() -> bool:
    return (platform.machine() in X86 and torch.backends.mkldnn.is_available()
            and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS))


@torch.no_grad()
def pack_weight(weight: Tensor, size: Sequence[int],
                settings: ConvSettings) -> Tensor:
    """Convert a weight to oneDNN's layout for maps of a size."""
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight, *settings, size)


def layout_of(packed: Tensor) -> bytes:
    """An identifier of a packed weight's layout."""
    return bytes(
        torch.ops.mkldnn._get_mkldnn_serialized_md(packed).numpy().data)


def convolve_packed(x: Tensor, weight: Tensor, bias: Tensor | None,
                    settings: ConvSettings) -> Tensor:
    """Convolve with a weight that may be packed, with the same outputs."""
    padding, stride, dilation, groups = settings
    return torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, padding, stride, dilation, groups, 'none', [], '')


class PackedConv2d(nn.Conv2d):
    """A convolution that keeps its weight in oneDNN's layout.

    The packed weight is used for inference in float32 or bfloat16 on an x86
    CPU, with feature maps of the same size as before. All other calls, and
    tracing, compiling or exporting, use the ordinary convolution. Parameters
    are those of the replaced convolution, outputs are equal up to rounding.
    Weights may change at any time, see :class:`.winograd_conv.WinogradConv2d`.
    """

    def __init__(self, conv: nn.Conv2d):
        # torch's annotations do not know that these are pairs.
        pairs: dict[str, Any] = dict(
            kernel_size=conv.kernel_size, stride=conv.stride,
            padding=conv.padding, dilation=conv.dilation)
        super().__init__(
            conv.in_channels, conv.out_channels, **pairs, groups=conv.groups,
            bias=conv.bias is not None, device='meta')
        self.weight, self.bias = conv.weight, conv.bias
        self._settings = ConvSettings(pairs['padding'], conv.stride,
                                      conv.dilation, conv.groups)
        self._packed: PackedWeight | None = None
        self._last_size: torch.Size | None = None
        self.train(conv.training)

    @staticmethod
    def can_replace(module: nn.Module) -> bool:
        """Whether it is one of torch's own, padded with zeros."""
        return (type(module) is nn.Conv2d and module.padding_mode == 'zeros'
                and not isinstance(module.padding, str))

    def clear_packed(self) -> None:
        """Free what was made from the weight."""
        self._packed = None

    def _apply(self, *args, **kwargs):
        # It is useless on another device or in another type.
        self.clear_packed()
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict:
        """Copy and pickle without the packed weight."""
        return self.__dict__ | dict(_packed=None)

    def forward(self, x: Tensor) -> Tensor:
        if not self._can_use_packed(x):
            return super().forward(x)
        # The outputs get the memory format of x, not of the weight.
        x = x.contiguous(memory_format=torch.channels_last)
        return convolve_packed(x, self._weight_for(x.shape), self.bias,
                               self._settings)

    def _can_use_packed(self, x: Tensor) -> bool:
        return (not torch.compiler.is_compiling() and can_pack()
                and x.ndim == 4 and self._is_worth_it(x)
                and infers_on_cpu(x, self.weight, DTYPES))

    def _is_worth_it(self, x: Tensor) -> bool:
        if self.groups > 1:
            return x.numel() > 0
        return len(x) * prod(x.shape[2:]) * self.weight.numel() >= MIN_MACS

    def _weight_for(self, size: torch.Size) -> Tensor:
        packed = self._packed
        if packed is None or not packed.source.is_current(self.weight):
            return self._pack_for(size)
        # Where sizes alternate, as in heads, only the first is packed.
        comes_again, self._last_size = self._last_size == size, size
        if packed.size == size:
            return packed.values
        return self._pack_for(size) if comes_again else self.weight

    def _pack_for(self, size: torch.Size) -> Tensor:
        # Other threads may do the same, with the same result.
        self._packed = PackedWeight(
            pack_weight(self.weight, size, self._settings), size,
            Snapshot.of(self.weight))
        return self._packed.values


def clear_packed_weights(module: nn.Module) -> None:
    """Free all packed weights and kernels of a module."""
    for child in module.modules():
        if isinstance(child, PackedConv2d):
            child.clear_packed()
    return_free_memory()
