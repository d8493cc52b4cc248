"""Rewriting a trained LowFormer for inference, with the same outputs.

Each step is an identity of linear algebra, so outputs differ by rounding only.

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

from .blocks import Lowtention, Residual


@torch.no_grad()
def fuse_for_inference(network: nn.Module) -> None:
    """Rewrite a network made of LowFormer's blocks in place.

    Args:
        network (nn.Module): The network, in eval mode.
    """
    fuse_conv_bn(network)
    for module in network.modules():
        if isinstance(module, Residual):
            _fold_affine(module)
            # Nobody needs what the branch has computed any more.
            module.inplace = True
        elif isinstance(module, Lowtention):
            _make_dense(module)
        elif isinstance(module, nn.Hardswish):
            # Nobody needs its input any more.
            module.inplace = True


def _fold_affine(residual: Residual) -> None:
    """Move a norm's scale and shift into the convolution behind it."""
    norm, branch = residual.norm, residual.branch
    if not isinstance(norm, nn.GroupNorm):
        return
    if not isinstance(branch, nn.Sequential):
        return
    conv = branch[0]
    weight = conv.weight.flatten(1)
    conv.bias.add_(weight @ norm.bias)
    conv.weight.mul_(norm.weight[:, None, None])
    residual.norm = ImageNorm(norm.eps)


class ImageNorm(nn.Module):
    """GroupNorm with one group, without scale and shift, in any layout.

    Over all of an image the order of the dimensions does not matter, so
    channels-last maps are normalized as they lie. ``nn.GroupNorm`` copies them
    to channels-first: always on CUDA, and on a CPU when it is compiled.

    Args:
        eps (float): Added to the variance.
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


def _make_dense(attention: Lowtention) -> None:
    """A transposed convolution of stride 1 is one with its kernel turned."""
    up = attention.up
    if not isinstance(up, nn.ConvTranspose2d) or up.stride != (1, 1):
        return
    dense = nn.Conv2d(up.in_channels, up.out_channels, up.kernel_size,
                      padding=up.padding, device=up.weight.device,
                      dtype=up.weight.dtype)
    dense.weight.copy_(up.weight.transpose(0, 1).flip(2, 3))
    dense.bias.copy_(up.bias)
    attention.up = dense.requires_grad_(up.weight.requires_grad)
