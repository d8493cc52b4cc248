"""Stack building blocks until all stacks have the same MACs.

At each number of channels and each resolution, all stacks have the work of
:data:`BUDGET` 1x1 convolutions; a few such convolutions fill the remainder.
All expansions are 5, between the 4 and the 6 of LowFormer, so that two fused
blocks have the work of two 7x7, four 5x5 or eleven 3x3 convolutions.
"""
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

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
from .op_counter import Work, count_operators

# The common MACs, in 1x1 convolutions.
BUDGET = 100
# Fractions of the MACs that a stack may miss, and that fillers may add.
TOLERANCE = 0.01
MAX_FILLED = 0.15
EXPAND_RATIO = 5
# Only a part of a longer stack is timed.
MAX_BLOCKS = 128
# How many blocks without multiply-accumulates are stacked.
COPIES = 8
# A single block with more than so many times the MACs is not timed.
TOO_LARGE = 4
# Kernels are an identity with so much noise: in a long stack values neither
# vanish nor explode.
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
    scale = NOISE * conv.weight[0].numel() ** -0.5
    with torch.no_grad():
        noise = torch.randn_like(conv.weight) * scale
        nn.init.dirac_(conv.weight, groups).add_(noise)
    return conv


def _depthwise(channels: int, kernel: int) -> nn.Conv2d:
    return _conv(channels, kernel, channels)


def _mbconv(channels: int, block: Callable) -> Residual:
    return Residual(block(channels, channels, 1, EXPAND_RATIO, NORM, ACT,
                          bias=True))


def _lowtention(channels: int, stride: int, ratio: float) -> LowFormerBlock:
    return _branch(channels, 'norm_lowtention', dict(
        stride=stride, kernel=5, ratio=ratio, down='separable', up='dense'))


def _branch(channels: int, name: str,
            attention: dict | None = None) -> LowFormerBlock:
    return LowFormerBlock(channels, (name, ), attention or {}, 0, 0., NORM,
                          ACT)


def _norm(channels: int, **cfg) -> nn.Module:
    return build_norm_layer(cfg, channels)[1]


def _activation(_: int, **cfg) -> nn.Module:
    return build_activation_layer(cfg)


# Each takes the channels.
BLOCK_TYPES: dict[str, Callable[[int], nn.Module]] = {
    **{f'conv {size}x{size}': partial(_conv, kernel=size)
       for size in (1, 3, 5, 7)},
    **{f'{groups} groups 3x3': partial(_conv, kernel=3, groups=groups)
       for groups in (2, 4, 8)},
    **{f'depthwise {size}x{size}': partial(_depthwise, kernel=size)
       for size in (3, 5, 7)},
    'fused MBConv': partial(_mbconv, block=FusedMBConv),
    'MBConv': partial(_mbconv, block=MBConv),
    'Lowtention stride 2': partial(_lowtention, stride=2, ratio=0.5),
    'Lowtention stride 1': partial(_lowtention, stride=1, ratio=0.5),
    'Lowtention full channels': partial(_lowtention, stride=2, ratio=1),
    'plain attention': lambda channels: Residual(PlainAttention(channels)),
    'ReLU linear attention': partial(_branch, name='relu_linear_attention'),
    'MLP': partial(_branch, name='norm_mlp'),
    'BatchNorm': partial(_norm, type='BN'),
    'GroupNorm': partial(_norm, type='GN', num_groups=1),
    'Hardswish': partial(_activation, type='HSwish'),
    'GELU': partial(_activation, type='GELU'),
}


# Types that are used as whole blocks of networks.
NETWORK_BLOCKS = ('fused MBConv', 'MBConv', 'Lowtention stride 2',
                  'Lowtention stride 1', 'Lowtention full channels',
                  'plain attention', 'ReLU linear attention', 'MLP')


class Stack(Sequential):
    """A sequence of blocks that deploys like a LowFormer."""

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            x = block(x)
        return x

    def switch_to_deploy(self) -> None:
        """Rewrite the blocks for inference, in place."""
        fuse_for_inference(self)


@dataclass(frozen=True)
class StackPlan:
    """A stack of blocks with the common number of MACs."""

    block_type: str
    channels: int
    # Height and width of the feature maps.
    size: int
    # Blocks that are timed, and 1x1 convolutions behind them.
    blocks: int = 1
    filled: int = 0
    # How many such stacks make up the common work.
    times: int = 1
    # False for a single block with more work, and for blocks without MACs.
    equal: bool = False

    @cached_property
    def work(self) -> Work:
        """Work of the stack, for one image."""
        return count_operators(self.build, (self.size, self.size),
                               self.channels)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the stack, for one image."""
        return sum(self.work.macs.values())

    def build(self) -> Stack:
        """Make the stack."""
        make = BLOCK_TYPES[self.block_type]
        return Stack(*(make(self.channels) for _ in range(self.blocks)),
                     *(_conv(self.channels, 1) for _ in range(self.filled)))


def common_work(channels: int, size: int) -> int:
    """Multiply-accumulates of each stack, for one image."""
    return BUDGET * channels**2 * size**2


def plan(block_type: str, channels: int, size: int) -> StackPlan | None:
    """Plan a stack with the common MACs; None if a block is too large."""
    one = StackPlan(block_type, channels, size)
    budget = common_work(channels, size)
    if one.macs > TOO_LARGE * budget:
        return None
    if not one.macs:
        return replace(one, blocks=COPIES)
    blocks, filled, times = _divide(budget, one.macs, budget // BUDGET)
    if not blocks or filled > MAX_FILLED * BUDGET:
        return one
    return replace(one, blocks=blocks, filled=filled, times=times, equal=True)


def _divide(budget: int, block: int, filler: int) -> tuple[int, int, int]:
    """Blocks and fillers in a part, and the number of parts."""
    times = -(-round(budget / block) // MAX_BLOCKS)
    if times > 1:
        return round(budget / block / times), 0, times
    blocks = int((budget + TOLERANCE / 4 * budget) // block)
    return blocks, max(0, round((budget - blocks * block) / filler)), 1
