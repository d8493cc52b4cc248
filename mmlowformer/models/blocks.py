"""The building blocks of LowFormer, in the order of the paper's figure.

Shapes are ``(N, C, H, W)``. Sources: LowFormer, https://arxiv.org/abs/2409.03460
(WACV 2025), and Beyond MACs, https://arxiv.org/abs/2603.26551 (IJCV 2026).
"""
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

MLP_RATIO = 4
LOCAL_EXPAND_RATIO = 4
LINEAR_HEAD_DIM = 16


def _group_norm(channels: int) -> nn.Module:
    """GroupNorm with one group: each image is normalized as a whole."""
    return build_norm_layer(dict(type='GN', num_groups=1), channels)[1]


class ConvNormAct(ConvModule):
    """mmcv's ConvModule with torch's initialization."""

    def __init__(self, *args, **kwargs):
        with warnings.catch_warnings():
            # Some of LowFormer's convolutions have a bias in front of their
            # BatchNorm. It has no effect, yet published weights contain it.
            warnings.filterwarnings('ignore', message='Unnecessary conv bias')
            super().__init__(*args, **kwargs)

    def init_weights(self):
        # Torch has initialized the layers already, as for the authors, and a
        # user's init_cfg may have done so since. mmcv would count the fan-out
        # of a depthwise convolution as if it were dense, so that MBConv, which
        # has no norm behind it, would start with a signal close to zero.
        pass


class FusedMBConv(BaseModule):
    """Dense 3x3 expansion and 1x1 projection, each with a norm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int,
                 expand_ratio: float, norm_cfg: dict, act_cfg: dict,
                 bias: bool = False):
        super().__init__()
        hidden = round(in_channels * expand_ratio)
        self.spatial_conv = ConvNormAct(
            in_channels, hidden, 3, stride=stride, padding=1, bias=bias,
            norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.point_conv = ConvNormAct(
            hidden, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.spatial_conv(x))


class MBConv(BaseModule):
    """1x1 expansion, 3x3 depthwise, 1x1 projection, norm only at the end."""

    def __init__(self, in_channels: int, out_channels: int, stride: int,
                 expand_ratio: float, norm_cfg: dict, act_cfg: dict,
                 bias: bool = False):
        super().__init__()
        hidden = round(in_channels * expand_ratio)
        self.expand_conv = ConvNormAct(
            in_channels, hidden, 1, bias=bias, norm_cfg=None, act_cfg=act_cfg)
        self.depth_conv = ConvNormAct(
            hidden, hidden, 3, stride=stride, padding=1, groups=hidden,
            bias=bias, norm_cfg=None, act_cfg=act_cfg)
        self.point_conv = ConvNormAct(
            hidden, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(self.depth_conv(self.expand_conv(x)))


CONV_BLOCKS: dict[str, type[BaseModule]] = dict(
    fused_mbconv=FusedMBConv, mbconv=MBConv)


def _transposed_conv(in_channels: int, channels: int, stride: int,
                     groups: int = 1) -> nn.ConvTranspose2d:
    """Upsamples by ``stride`` along each axis."""
    kernel, padding = (3, 1) if stride == 1 else (2 * stride, stride // 2)
    return nn.ConvTranspose2d(in_channels, channels, kernel, stride=stride,
                              padding=padding, groups=groups)


def _separable_transposed_conv(in_channels: int, channels: int,
                               stride: int) -> Sequential:
    return Sequential(
        nn.Conv2d(in_channels, channels, 1),
        _transposed_conv(channels, channels, stride, groups=channels))


def _crop(x: Tensor, size: torch.Size) -> Tensor:
    """Crop feature maps, ``(..., H, W)`` to ``(..., *size)``."""
    height, width = size
    # torch before 2.7 cannot tell an export from a compilation.
    if not getattr(torch.compiler, 'is_exporting', bool)():
        return x[..., :height, :width]
    # A slice would bake in whether the example's size was odd.
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))


class Lowtention(BaseModule):
    """Self-attention on a lower resolution and fewer channels.

    A strided depthwise convolution lowers the resolution; a transposed
    convolution restores it, and is also the output projection.
    """

    WAYS = ('separable', 'dense')

    def __init__(self, channels: int, stride: int, kernel: int, ratio: float,
                 down: str, up: str, norm_cfg: dict):
        super().__init__()
        self.num_heads = max(1, int(channels * ratio) // 30)
        self.head_dim = int((channels // self.num_heads) * ratio)
        inner = self.num_heads * self.head_dim
        size: dict[str, Any] = dict(
            kernel_size=kernel, stride=stride, padding=kernel // 2)
        if down == 'dense':
            self.down: nn.Module = nn.Identity()
            self.qkv = nn.Conv2d(channels, 3 * inner, bias=False, **size)
        else:
            self.down = ConvNormAct(channels, channels, groups=channels,
                                    norm_cfg=norm_cfg, act_cfg=None, **size)
            self.qkv = nn.Conv2d(channels, 3 * inner, 1, bias=False)
        make_up = (_transposed_conv if up == 'dense' else
                   _separable_transposed_conv)
        self.up: nn.Module = make_up(inner, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        # Odd sizes are rounded up on the way down.
        return _crop(self.up(self.attend(self.qkv(self.down(x)))), size)

    def attend(self, qkv: Tensor) -> Tensor:
        """Attend over all positions: ``(N, 3hd, H, W)`` to ``(N, hd, H, W)``.

        The channels hold q, k and v head by head.
        """
        n, _, height, width = qkv.shape
        qkv = qkv.reshape(
            n, self.num_heads, 3 * self.head_dim, height * width)
        q, k, v = qkv.transpose(2, 3).chunk(3, dim=-1)
        x = F.scaled_dot_product_attention(q, k, v).transpose(2, 3)
        if self.num_heads == 1:
            # The layout of a view would depend on the number of images, and
            # an export be for one image or for more. No named variant has it.
            x = x.clone(memory_format=torch.contiguous_format)
        return x.reshape(
            n, self.num_heads * self.head_dim, height, width)


class ReLULinearAttention(BaseModule):
    """EfficientViT's attention, whose cost is linear in the positions.

    ReLU replaces softmax, so that keys and values can be summed first. Half of
    the heads use q, k and v, the other half use them after a 5x5 convolution
    per head. Source: https://arxiv.org/abs/2205.14756.
    """

    def __init__(self, channels: int, norm_cfg: dict):
        super().__init__()
        num_heads = max(1, channels // LINEAR_HEAD_DIM)
        inner = num_heads * LINEAR_HEAD_DIM
        self.qkv = nn.Conv2d(channels, 3 * inner, 1, bias=False)
        self.wide_qkv = Sequential(
            nn.Conv2d(3 * inner, 3 * inner, 5, padding=2, groups=3 * inner,
                      bias=False),
            nn.Conv2d(3 * inner, 3 * inner, 1, groups=3 * num_heads,
                      bias=False))
        self.proj = ConvNormAct(
            2 * inner, channels, 1, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        return self.proj(self.attend(torch.cat([qkv, self.wide_qkv(qkv)], 1)))

    @staticmethod
    def attend(qkv: Tensor) -> Tensor:
        """Attend over all positions: ``(N, 3hd, H, W)`` to ``(N, hd, H, W)``.

        The channels hold q, k and v head by head.
        """
        n, _, height, width = qkv.shape
        heads = qkv.reshape(n, -1, 3 * LINEAR_HEAD_DIM, height * width)
        q, k, v = heads.chunk(3, dim=2)
        # Means: sums over all positions would leave the range of float16.
        k = F.relu(k) / (height * width)
        # With 1 as one more value, the weights' sum is one more output.
        v = F.pad(v, (0, 0, 0, 1), value=1.)
        sums = (v @ k.transpose(2, 3) @ F.relu(q)).float()
        x = sums[:, :, :-1] / (sums[:, :, -1:] + 1e-15)
        return x.reshape(n, -1, height, width).to(qkv.dtype)


class Residual(BaseModule):
    """``x + drop_path(branch(norm(x)))``."""

    inplace = False

    def __init__(self, branch: nn.Module, drop_path: float = 0.,
                 norm: nn.Module | None = None):
        super().__init__()
        self.norm = nn.Identity() if norm is None else norm
        self.branch = branch
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        output = self.drop_path(self.branch(self.norm(x)))
        return output.add_(x) if self.inplace else x + output


def _mlp(channels: int) -> Sequential:
    return Sequential(
        nn.Conv2d(channels, MLP_RATIO * channels, 1), nn.GELU(),
        nn.Conv2d(MLP_RATIO * channels, channels, 1))


def _local(channels: int, depthwise_from: float, norm_cfg: dict,
           act_cfg: dict) -> BaseModule:
    block = FusedMBConv if channels < depthwise_from else MBConv
    return block(channels, channels, 1, LOCAL_EXPAND_RATIO, norm_cfg, act_cfg,
                 bias=True)


class LowFormerBlock(BaseModule):
    """The block of stages 3 and 4: a chain of residual branches."""

    BRANCHES = ('norm_lowtention', 'lowtention', 'relu_linear_attention',
                'norm_mlp', 'local')

    def __init__(self, channels: int, branches: tuple, attention: dict,
                 depthwise_from: float, drop_path: float, norm_cfg: dict,
                 act_cfg: dict):
        super().__init__()
        build = dict(
            lowtention=lambda: Lowtention(
                channels, norm_cfg=norm_cfg, **attention),
            relu_linear_attention=lambda: ReLULinearAttention(
                channels, norm_cfg),
            mlp=lambda: _mlp(channels),
            local=lambda: _local(channels, depthwise_from, norm_cfg, act_cfg))
        for name in branches:
            kind = name.removeprefix('norm_')
            norm = _group_norm(channels) if name != kind else None
            self.add_module(kind, Residual(build[kind](), drop_path, norm))

    def forward(self, x: Tensor) -> Tensor:
        for branch in self.children():
            x = branch(x)
        return x
