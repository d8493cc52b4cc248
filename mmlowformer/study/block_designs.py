"""Building blocks, stacked until all have the same multiply-accumulates.

What is compared at each number of channels and each resolution are stacks of
the same work: that of :data:`BUDGET` 1x1 convolutions. A few such convolutions
fill what whole blocks leave of it. Expansions are 5 throughout, between the 4
and the 6 of LowFormer, so that two fused blocks have the work of two 7x7, four
5x5 and eleven 3x3 convolutions.
"""
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import Sequential
from torch import Tensor, nn

from ..models.blocks import (
    FusedMBConv,
    LowFormerBlock,
    Lowtention,
    MBConv,
    Residual,
)
from ..models.reparameterize import fuse_for_inference
from .op_counter import Work, count_work

# In 1x1 convolutions, each with channels squared multiply-accumulates a pixel.
BUDGET = 100
# What a stack may differ by, and how much of it may be filled up.
TOLERANCE = 0.01
MOST_FILLED = 0.15
EXPAND_RATIO = 5
# Longer stacks are timed in parts, as equal as they are.
MOST_BLOCKS = 128
# Of what multiplies nothing.
COPIES = 8
# A single block of more work than so many budgets is not timed.
TOO_LARGE = 4
# Of a convolution's own kernel, on top of an identity: the values neither
# vanish nor explode, however many there are.
NOISE = 0.05

NORM, ACT = dict(type='BN'), dict(type='HSwish')


class PlainAttention(Lowtention):
    """Attention at full resolution and on all channels, as in a ViT."""

    def __init__(self, channels: int):
        super().__init__(channels, 1, 1, 1, 'dense', 'dense', NORM)
        self.up = nn.Conv2d(self.num_heads * self.head_dim, channels, 1)


def _conv(channels: int, kernel: int, groups: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2,
                     groups=groups)
    spread = NOISE * conv.weight[0].numel() ** -0.5
    with torch.no_grad():
        noise = torch.randn_like(conv.weight) * spread
        nn.init.dirac_(conv.weight, groups).add_(noise)
    return conv


def _depthwise(channels: int, kernel: int) -> nn.Conv2d:
    return _conv(channels, kernel, channels)


def _mbconv(channels: int, block: Callable) -> Residual:
    return Residual(block(channels, channels, 1, EXPAND_RATIO, NORM, ACT,
                          bias=True))


def _attention(channels: int, stride: int, kernel: int,
               ratio: float) -> LowFormerBlock:
    return _branch(channels, 'norm_lowtention', dict(
        stride=stride, kernel=kernel, ratio=ratio, down='separable',
        up='dense'))


def _branch(channels: int, name: str,
            attention: dict | None = None) -> LowFormerBlock:
    return LowFormerBlock(channels, (name, ), attention or {}, 0, 0., NORM,
                          ACT)


def _norm(channels: int, **cfg) -> nn.Module:
    return build_norm_layer(cfg, channels)[1]


def _activation(channels: int, kind: str) -> nn.Module:
    return build_activation_layer(dict(type=kind))


# By the question that they answer; each takes the channels.
DESIGNS: dict[str, Callable[[int], nn.Module]] = {
    'conv 1x1': partial(_conv, kernel=1),
    'conv 3x3': partial(_conv, kernel=3),
    'conv 5x5': partial(_conv, kernel=5),
    'conv 7x7': partial(_conv, kernel=7),
    '2 groups 3x3': partial(_conv, kernel=3, groups=2),
    '4 groups 3x3': partial(_conv, kernel=3, groups=4),
    '8 groups 3x3': partial(_conv, kernel=3, groups=8),
    'depthwise 3x3': partial(_depthwise, kernel=3),
    'depthwise 5x5': partial(_depthwise, kernel=5),
    'depthwise 7x7': partial(_depthwise, kernel=7),
    'fused MBConv': partial(_mbconv, block=FusedMBConv),
    'MBConv': partial(_mbconv, block=MBConv),
    'Lowtention stride 2': partial(_attention, stride=2, kernel=5, ratio=0.5),
    'Lowtention stride 1': partial(_attention, stride=1, kernel=5, ratio=0.5),
    'Lowtention full channels': partial(
        _attention, stride=2, kernel=5, ratio=1),
    'plain attention': lambda channels: Residual(PlainAttention(channels)),
    'ReLU linear attention': partial(_branch, name='relu_linear_attention'),
    'MLP': partial(_branch, name='norm_mlp'),
    'BatchNorm': partial(_norm, type='BN'),
    'GroupNorm': partial(_norm, type='GN', num_groups=1),
    'Hardswish': partial(_activation, kind='HSwish'),
    'GELU': partial(_activation, kind='GELU'),
}


# Those that are blocks of a network by themselves.
BLOCKS = ('fused MBConv', 'MBConv', 'Lowtention stride 2',
          'Lowtention stride 1', 'Lowtention full channels',
          'plain attention', 'ReLU linear attention', 'MLP')


class Stack(Sequential):
    """Blocks one after the other, which deploy as those of a LowFormer do."""

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            x = block(x)
        return x

    def switch_to_deploy(self) -> None:
        """Rewrite the blocks for inference, in place."""
        fuse_for_inference(self)


@dataclass(frozen=True)
class Plan:
    """How a building block gets to the common work.

    Attributes:
        design (str): Of :data:`DESIGNS`.
        channels (int): Channels of its input and output.
        blocks (int): How many of them are timed, one after the other.
        filled (int): How many 1x1 convolutions behind them.
        times (int): How often all that has to be done for the common work.
        equal (bool): Whether that is the common work, within
            :data:`TOLERANCE`; otherwise it is a single block that has more,
            or what multiplies nothing.
        work (Work): What is timed, for one image.
    """

    design: str
    channels: int
    blocks: int
    filled: int
    times: int
    equal: bool
    work: Work

    @property
    def macs(self) -> int:
        """Multiply-accumulates of what is timed, for one image."""
        return sum(self.work.macs.values())

    def build(self) -> Stack:
        """Make the stack."""
        return _stack(self.design, self.channels, self.blocks, self.filled)


def _stack(design: str, channels: int, blocks: int, filled: int) -> Stack:
    make = DESIGNS[design]
    return Stack(*(make(channels) for _ in range(blocks)),
                 *(_conv(channels, 1) for _ in range(filled)))


def common_work(channels: int, size: int) -> int:
    """Multiply-accumulates that stacks have in common, for one image."""
    return BUDGET * channels**2 * size**2


def plan(design: str, channels: int, size: int) -> Plan | None:
    """Find the stack of a building block that has the common work."""
    one = _count(design, channels, size, 1, 0)
    macs, budget = sum(one.macs.values()), common_work(channels, size)
    if macs > TOO_LARGE * budget:
        return None
    if not macs:
        return _planned(design, channels, size, COPIES, 0, 1, False)
    blocks, filled, times = _divide(budget, macs, budget // BUDGET)
    equal = blocks > 0 and filled <= MOST_FILLED * BUDGET
    if not equal:
        blocks, filled, times = 1, 0, 1
    return _planned(design, channels, size, blocks, filled, times, equal)


def _divide(budget: int, block: int, filler: int) -> tuple[int, int, int]:
    """Blocks and fillers in a part, and the number of parts."""
    times = -(-round(budget / block) // MOST_BLOCKS)
    if times > 1:
        return round(budget / block / times), 0, times
    blocks = int((budget + TOLERANCE / 4 * budget) // block)
    return blocks, max(0, round((budget - blocks * block) / filler)), 1


def _planned(design: str, channels: int, size: int, blocks: int, filled: int,
             times: int, equal: bool) -> Plan:
    work = _count(design, channels, size, blocks, filled)
    return Plan(design, channels, blocks, filled, times, equal, work)


def _count(design: str, channels: int, size: int, blocks: int,
           filled: int) -> Work:
    return count_work(partial(_stack, design, channels, blocks, filled),
                      (size, size), channels)
