"""Convolutions whose weights are laid out once, not in each call.

oneDNN, which convolves for torch on x86, has layouts of its own for weights,
and which is best depends on the size of the maps. torch converts weights to it
in each call; compilers do so once, and with the same two operators.
"""
import platform
from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..utils.allocator import return_free_memory
from .chunking import is_exported

# Of a weight so many values are compared, to see whether they changed.
SAMPLE_SIZE = 16
DTYPES = (torch.float32, torch.bfloat16)
# What takes fewer multiplications torch convolves without oneDNN, whose calls
# alone take longer.
MIN_MACS = 2_000_000
OPERATORS = ('_convolution_pointwise', '_reorder_convolution_weight',
             '_get_mkldnn_serialized_md')
X86 = ('x86_64', 'AMD64', 'i386')


class Snapshot(NamedTuple):
    """What a weight was when something was made from it.

    Attributes:
        weight (Tensor): The weight.
        version (int): How often it had been written to.
        address (int): Where its values lay.
        values (Tensor): Some of its values, where they lay.
        copies (Tensor): What they were.
    """

    weight: Tensor
    version: int
    address: int
    values: Tensor
    copies: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> 'Snapshot':
        """Take it, of a weight that :func:`is_dense`."""
        values = _sample(weight.detach())
        return cls(weight, weight._version, weight.data_ptr(), values,
                   values.clone())

    def is_current(self, weight: Tensor) -> bool:
        """Whether a weight is that one, and unchanged.

        Not all that writes into a tensor counts as a new version: fused
        optimizers do not, nor does what goes by ``weight.data``.
        """
        return (weight is self.weight and weight._version == self.version
                and weight.data_ptr() == self.address
                and torch.equal(self.values, self.copies))


class ConvSettings(NamedTuple):
    """What a convolution is beside its weights, as torch's operators take it.

    Attributes:
        padding (tuple[int, int]): Of height and width, as the next two.
        stride (tuple[int, int]): The stride.
        dilation (tuple[int, int]): The dilation.
        groups (int): Groups of channels.
    """

    padding: tuple[int, ...] = (0, 0)
    stride: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1


class PackedWeight(NamedTuple):
    """A convolution's weight in the layout that oneDNN wants.

    Attributes:
        values (Tensor): The weight, of the layout ``torch._mkldnn``.
        size (torch.Size): Of the maps that it is best for.
        source (Snapshot): What it was made from.
    """

    values: Tensor
    size: torch.Size
    source: Snapshot


def _sample(weight: Tensor) -> Tensor:
    """Evenly spaced values, in the order in which they lie in memory."""
    step = max(1, weight.numel() // SAMPLE_SIZE)
    return torch.as_strided(weight, (-(-weight.numel() // step), ), (step, ))


def is_dense(weight: Tensor) -> bool:
    """Whether nothing lies between its values, and changes are counted."""
    if not torch.compiler.is_compiling() and weight.is_inference():
        return False
    return (weight.is_contiguous(memory_format=torch.channels_last)
            or weight.is_contiguous())


def infers_on_cpu(x: Tensor, weight: Tensor,
                  dtypes: tuple[torch.dtype, ...]) -> bool:
    """Whether a CPU computes it, for nobody who asks for gradients."""
    return (not torch.is_grad_enabled() and not _autocasts()
            and not is_exported()
            and x.device.type == weight.device.type == 'cpu'
            and x.dtype == weight.dtype and x.dtype in dtypes
            and is_dense(weight))


def _autocasts() -> bool:
    try:
        return torch.is_autocast_enabled('cpu')
    except TypeError:  # torch before 2.4
        return torch.is_autocast_cpu_enabled()


# A compiler asks, and keeps the answer.
@torch.compiler.assume_constant_result
def can_pack() -> bool:
    """Whether this processor has such layouts, and torch the operators."""
    return _can_pack()


@cache
def _can_pack() -> bool:
    return (platform.machine() in X86 and torch.backends.mkldnn.is_available()
            and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS))


@torch.no_grad()
def pack_weight(weight: Tensor, size: Sequence[int],
                settings: ConvSettings) -> Tensor:
    """Lay out a convolution's weight as oneDNN wants it."""
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight, *settings, size)


def layout_of(packed: Tensor) -> bytes:
    """What tells layouts apart, of what :func:`pack_weight` has made."""
    return bytes(
        torch.ops.mkldnn._get_mkldnn_serialized_md(packed).numpy().data)


def convolve_packed(x: Tensor, weight: Tensor, bias: Tensor | None,
                    settings: ConvSettings) -> Tensor:
    """Convolve with a weight that may be packed.

    With one as it is, the same is done after a conversion: what comes out
    does not depend on what was packed before.
    """
    padding, stride, dilation, groups = settings
    return torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, padding, stride, dilation, groups, 'none', [], '')


class PackedConv2d(nn.Conv2d):
    """A convolution that keeps its weight as oneDNN wants it for the maps.

    That is: for inference in float32 or bfloat16 on an x86 CPU, with maps as
    large as the last ones. Whatever else comes, and what is traced, compiled
    or exported, is convolved as ever. The parameters are those of the
    convolution that it takes the place of, and so are the outputs up to
    rounding. Weights may change at any time, as of
    :class:`.winograd.WinogradConv2d`.
    """

    def __init__(self, conv: nn.Conv2d):
        # Pairs, of which torch's annotations do not know.
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
        """Whether it is a convolution as torch has it."""
        return (type(module) is nn.Conv2d and module.padding_mode == 'zeros'
                and not isinstance(module.padding, str))

    def forget(self) -> None:
        """Give the memory back that what is made from the weight takes."""
        self._packed = None

    def _apply(self, *args, **kwargs):
        # Of no use elsewhere.
        self.forget()
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict:
        """What is copied and pickled: all but what is made from it."""
        return self.__dict__ | dict(_packed=None)

    def forward(self, x: Tensor) -> Tensor:
        if not self._can_use_packed(x):
            return super().forward(x)
        # What comes out is laid out like this, and not like the weight.
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
        # Of sizes in turn, as in heads, none but the first is packed.
        comes_again, self._last_size = self._last_size == size, size
        if packed.size == size:
            return packed.values
        return self._pack_for(size) if comes_again else self.weight

    def _pack_for(self, size: torch.Size) -> Tensor:
        # Other threads may do the same, to the same effect.
        self._packed = PackedWeight(
            pack_weight(self.weight, size, self._settings), size,
            Snapshot.of(self.weight))
        return self._packed.values


def forget_packed(module: nn.Module) -> None:
    """Give the memory back that what is made from weights takes."""
    for child in module.modules():
        if isinstance(child, PackedConv2d):
            child.forget()
    return_free_memory()
