"""FAT, a peer of LowFormer.

Source: Lightweight Vision Transformer with Bidirectional Interaction, 2023,
https://arxiv.org/abs/2306.00396, and its authors' code, github.com/qhfan/FAT.
Shapes are ``(N, C, H, W)``.
"""
from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn.utils import fuse_conv_bn
from torch import Tensor, nn
from typing_extensions import Self

KERNELS = (3, 5, 7, 9)
# Factors by which keys and values are downsampled along each axis.
WINDOWS = (8, 4, 2, 1)
FFN_KERNEL = 5
FFN_RATIO = 4

SETTINGS: dict[str, dict] = dict(
    fat_b0=dict(widths=(32, 80, 160, 256), depths=(2, 2, 6, 2),
                heads=(2, 5, 10, 16)),
    fat_b1=dict(widths=(48, 96, 192, 384), depths=(2, 2, 6, 2),
                heads=(3, 6, 12, 24)),
    fat_b2=dict(widths=(64, 128, 256, 512), depths=(2, 2, 6, 2),
                heads=(2, 4, 8, 16)),
    fat_b3=dict(widths=(64, 128, 256, 512), depths=(4, 4, 16, 4),
                heads=(2, 4, 8, 16)))


class DepthwiseConv(nn.Module):
    """``norm(conv(x) + x)``, each of norm and sum optional."""

    def __init__(self, channels: int, kernel: int, stride: int = 1,
                 residual: bool = False, norm: bool = False):
        super().__init__()
        self.residual = residual
        self.conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2,
                              groups=channels)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        output = self.conv(x)
        return self.norm(output + x if self.residual else output)

    def fold_residual(self) -> None:
        """Fold the residual into the center of the kernels."""
        if self.residual:
            middle = self.conv.kernel_size[0] // 2
            self.conv.weight.data[:, :, middle, middle] += 1
            self.residual = False


class FullyAdaptiveAttention(nn.Module):
    """Attention to a smaller map, and a convolution; each gates the other."""

    def __init__(self, channels: int, kernel: int, num_heads: int,
                 window: int):
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Conv2d(channels, channels, 1)
        self.kv = nn.Conv2d(channels, 2 * channels, 1)
        self.local = DepthwiseConv(channels, kernel)
        self.proj = nn.Conv2d(channels, channels, 1)
        steps: list[nn.Module] = []
        while window > 1:
            window //= 2
            steps.append(DepthwiseConv(channels, 5, stride=2, norm=True))
            if window > 1:
                steps.append(nn.Conv2d(channels, channels, 1))
        self.pool = nn.Sequential(*steps)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x)
        k, v = self.kv(self.pool(x)).chunk(2, dim=1)
        attended = F.scaled_dot_product_attention(
            self._heads(q), self._heads(k), self._heads(v))
        attended = attended.transpose(2, 3).reshape(x.shape)
        # Both are gated by themselves, and multiplied.
        return self.proj(F.silu(self.local(q)) * F.silu(attended))

    def _heads(self, x: Tensor) -> Tensor:
        """From ``(N, hd, H, W)`` to ``(N, h, HW, d)``."""
        n, channels, height, width = x.shape
        return x.reshape(n, self.num_heads, channels // self.num_heads,
                         height * width).transpose(2, 3)


class ConvFFN(nn.Sequential):
    """An MLP on pixels with a depthwise convolution between its layers."""

    def __init__(self, channels: int, out_channels: int, stride: int):
        hidden = FFN_RATIO * channels
        super().__init__(
            nn.Conv2d(channels, hidden, 1), nn.GELU(),
            DepthwiseConv(hidden, FFN_KERNEL, stride, residual=stride == 1,
                          norm=True),
            nn.Conv2d(hidden, out_channels, 1))


class FATBlock(nn.Module):
    """Position encoding, attention and FFN, each with a residual."""

    def __init__(self, channels: int, out_channels: int, kernel: int,
                 num_heads: int, window: int, stride: int):
        super().__init__()
        self.position = DepthwiseConv(channels, kernel, residual=True)
        self.norm1 = nn.GroupNorm(1, channels)
        self.attention = FullyAdaptiveAttention(
            channels, kernel, num_heads, window)
        self.norm2 = nn.GroupNorm(1, channels)
        self.shortcut = nn.Identity() if stride == 1 else nn.Sequential(
            DepthwiseConv(channels, FFN_KERNEL, stride, norm=True),
            nn.Conv2d(channels, out_channels, 1))
        self.ffn = ConvFFN(channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        x = self.position(x)
        x = x + self.attention(self.norm1(x))
        return self.shortcut(x) + self.ffn(self.norm2(x))


def _conv(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, 1),
        nn.BatchNorm2d(out_channels), nn.ReLU())


def _stem(width: int) -> nn.Sequential:
    return nn.Sequential(
        _conv(3, width // 2, 2), _conv(width // 2, width, 2),
        _conv(width, width, 1), _conv(width, width, 1),
        nn.Conv2d(width, width, 1), nn.GroupNorm(1, width))


class FAT(nn.Module):
    """FAT's backbone, whose output is a feature map at stride 32."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int],
                 heads: Sequence[int]):
        super().__init__()
        self.stem = _stem(widths[0])
        blocks: list[nn.Module] = []
        for i, depth in enumerate(depths):
            stage = KERNELS[i], heads[i], WINDOWS[i]
            blocks += [FATBlock(widths[i], widths[i], *stage, stride=1)
                       for _ in range(depth - 1)]
            last = i == len(depths) - 1
            blocks.append(FATBlock(widths[i], widths[i if last else i + 1],
                                   *stage, stride=1 if last else 2))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.GroupNorm(1, widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.blocks(self.stem(x)))

    def switch_to_deploy(self) -> Self:
        """Make sums and BatchNorms part of the convolutions, in place."""
        for module in self.modules():
            if isinstance(module, DepthwiseConv):
                module.fold_residual()
        return fuse_conv_bn(self)


def build(name: str) -> FAT:
    """FAT of one of the published sizes."""
    return FAT(**SETTINGS[name])
