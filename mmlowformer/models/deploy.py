"""Rewriting a trained LowFormer for inference, with the same outputs.

Each step is an identity of linear algebra, so outputs differ by rounding only.

Not rewritten: the affine part of a GroupNorm in front of an attention, whose
depthwise convolution pads with zeros, which the norm would not have shifted;
and the transposed convolution of stride 2. As a convolution that makes the
four pixels of each position, it multiplies 9/4 times as much, and took about
twice as long on a CPU.
"""
import torch
from mmcv.cnn.utils import fuse_conv_bn
from torch import nn

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
        elif isinstance(module, Lowtention):
            _make_dense(module)
        elif isinstance(module, nn.Hardswish):
            # Nobody needs its input any more.
            module.inplace = True


def _fold_affine(residual: Residual) -> None:
    """Move a norm's scale and shift into the convolution behind it."""
    norm, branch = residual.norm, residual.branch
    if not isinstance(norm, nn.GroupNorm) or not norm.affine:
        return
    if not isinstance(branch, nn.Sequential):
        return
    conv = branch[0]
    weight = conv.weight.flatten(1)
    conv.bias.add_(weight @ norm.bias)
    conv.weight.mul_(norm.weight[:, None, None])
    residual.norm = nn.GroupNorm(norm.num_groups, norm.num_channels, norm.eps,
                                 affine=False)


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
