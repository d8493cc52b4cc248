"""Rewriting a trained LowFormer for inference, with the same outputs.

Each step is an identity of linear algebra, so outputs differ by rounding only.
On a CPU convolutions keep their weights as oneDNN wants them, 3x3 ones with
many channels use Winograd convolution, and FusedMBConvs with stride 1, whose
wide maps do not fit into the caches, are computed in chunks; with stride 2
that was slower.

Not rewritten: a GroupNorm in front of an attention, whose depthwise
convolution pads with zeros, which the norm would not have shifted (on CUDA it
copies its input to channels-first; what that costs was not measured); and the
transposed convolution of stride 2. As a convolution that makes the four pixels
of each position, it multiplies 9/4 times as much, and took about twice as long
on a CPU.
"""

import torch
import torch.nn.functional as F
from mmcv.cnn.utils import fuse_conv_bn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import UserError
from ..ops.chunking import can_unroll, concat, count_chunks, is_exporting
from ..ops.module_utils import replace_modules, to_channels_last
from ..ops.packed_conv import PackedConv2d
from ..ops.winograd_conv import WinogradConv2d
from .blocks import FusedMBConv, Lowtention, Residual

# Values of a hidden map that are computed at once: 4 MiB in float32.
CHUNK_SIZE = 2**20


def fuse_for_inference(network: nn.Module) -> None:
    """Rewrite a network made of LowFormer's blocks in place."""
    check_changeable(network)
    # Parameters made in inference mode could not be loaded into afterwards.
    with torch.inference_mode(False), torch.no_grad():
        _prepare_batch_norms(network)
        _fuse(network)


def check_changeable(network: nn.Module) -> None:
    """Make sure that weights can be computed with, and changed."""
    for name, weight in network.named_parameters():
        if weight.is_meta:
            raise UserError(f'{name} has no values yet (device "meta"): load '
                            'weights before deploying')
        if weight.is_inference():
            raise UserError(f'{name} was made in inference mode and cannot be '
                            'changed: build or copy the model outside of it')
        if weight.is_floating_point() and weight.element_size() == 1:
            raise UserError(f'{name} is {weight.dtype}, which networks are '
                            'only kept in: call float() before deploying')


def _prepare_batch_norms(network: nn.Module) -> None:
    """Give those without scale and shift the ones that they stand for."""
    norms = {name: module for name, module in network.named_modules()
             if isinstance(module, _BatchNorm)}
    for name, norm in norms.items():
        if norm.running_mean is None:
            raise ValueError(
                f'{name} normalizes by the statistics of each batch '
                '(track_running_stats=False), which cannot be folded into a '
                'convolution. Such a network cannot be deployed.')
    for norm in norms.values():
        if norm.weight is None:
            norm.weight = nn.Parameter(torch.ones_like(norm.running_mean))
            norm.bias = nn.Parameter(torch.zeros_like(norm.running_mean))


def _fuse(network: nn.Module) -> None:
    fuse_conv_bn(network)
    for module in network.modules():
        if isinstance(module, Residual):
            _fold_affine(module)
            # Nobody needs what the branch has computed any more.
            module.inplace = True
        elif isinstance(module, Lowtention):
            replace_modules(module, _can_turn, _turned)
        elif isinstance(module, nn.Hardswish):
            # Nobody needs its input any more.
            module.inplace = True
    # First, or kernels would be transformed once more.
    to_channels_last(network)
    replace_modules(network, ChunkedFusedMBConv.can_replace,
                    ChunkedFusedMBConv)
    replace_modules(network, WinogradConv2d.can_replace, WinogradConv2d)
    replace_modules(network, PackedConv2d.can_replace, PackedConv2d)


def _fold_affine(residual: Residual) -> None:
    """Move a norm's scale and shift into the convolution behind it."""
    norm, branch = residual.norm, residual.branch
    if not isinstance(norm, nn.GroupNorm):
        return
    if not isinstance(branch, nn.Sequential):
        return
    conv = branch[0]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    weight = conv.weight.flatten(1)
    conv.bias.add_(weight @ norm.bias)
    conv.weight.mul_(norm.weight[:, None, None])
    residual.norm = ImageNorm(norm.eps)


class ImageNorm(nn.Module):
    """GroupNorm with one group, without scale and shift, in any layout.

    Over all of an image the order of the dimensions does not matter, so
    channels-last maps are normalized as they lie. ``nn.GroupNorm`` copies them
    to channels-first: always on CUDA, and on a CPU when it is compiled.
    """

    def __init__(self, eps: float):
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous(memory_format=torch.channels_last):
            x = F.group_norm(x.permute(0, 2, 3, 1), 1, eps=self.eps)
            return x.permute(0, 3, 1, 2)
        return F.group_norm(x, 1, eps=self.eps)

    def extra_repr(self) -> str:
        return f'eps={self.eps}'


def _can_turn(module: nn.Module) -> bool:
    """Whether it is a transposed convolution like LowFormer's, of stride 1."""
    return (isinstance(module, nn.ConvTranspose2d) and module.stride == (1, 1)
            and module.groups in (1, module.in_channels))


def _turned(up: nn.ConvTranspose2d) -> nn.Conv2d:
    """It is a convolution with its kernels turned."""
    height, width = up.kernel_size
    conv = nn.Conv2d(
        up.in_channels, up.out_channels, (height, width),
        padding=(height // 2, width // 2), groups=up.groups,
        device=up.weight.device, dtype=up.weight.dtype)
    kernels = up.weight if up.groups > 1 else up.weight.transpose(0, 1)
    conv.weight.copy_(kernels.flip(2, 3))
    if conv.bias is not None and up.bias is not None:
        conv.bias.copy_(up.bias)
    return conv.requires_grad_(up.weight.requires_grad)


class ChunkedFusedMBConv(nn.Module):
    """FusedMBConv with stride 1 that computes its wide hidden map in chunks.

    On a CPU, if that map is large. Parameters are those of the replaced block,
    outputs are equal up to rounding.
    """

    def __init__(self, block: FusedMBConv):
        super().__init__()
        self.spatial_conv = block.spatial_conv
        self.point_conv = block.point_conv
        self.train(block.training)

    @staticmethod
    def can_replace(module: nn.Module) -> bool:
        """Whether it is a FusedMBConv of stride 1 with its norms folded."""
        return (isinstance(module, FusedMBConv)
                and module.spatial_conv.stride == (1, 1)
                and isinstance(module.spatial_conv.norm, nn.Identity)
                and isinstance(module.point_conv.norm, nn.Identity))

    def forward(self, x: Tensor) -> Tensor:
        conv = self.spatial_conv.conv
        if isinstance(conv, WinogradConv2d) and conv.use_winograd(x):
            return conv.convolve_tiles(x, self._behind_conv)
        rows = max(1, CHUNK_SIZE // (conv.out_channels * x.shape[3]))
        if not self._use_chunks(x, rows):
            return self._behind_conv(conv(x))
        return concat([self._by_chunks(image, rows)
                       for image in x.split(1)], dim=0)

    @staticmethod
    def _use_chunks(x: Tensor, rows: int) -> bool:
        parts = count_chunks(x.shape[2], rows)
        return (x.device.type == 'cpu' and parts > 1 and not is_exporting()
                and can_unroll(len(x) * parts))

    def _by_chunks(self, x: Tensor, rows: int) -> Tensor:
        conv, height = self.spatial_conv.conv, x.shape[2]
        parts = []
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            above, below = int(start == 0), int(stop == height)
            part = x[:, :, start - 1 + above:stop + 1 - below]
            if above or below:
                part = F.pad(part, (0, 0, above, below))
            part = F.conv2d(part, conv.weight, conv.bias, padding=(0, 1))
            parts.append(self._behind_conv(part))
        return concat(parts, dim=2)

    def _behind_conv(self, x: Tensor) -> Tensor:
        return self.point_conv(self.spatial_conv.activate(x))
