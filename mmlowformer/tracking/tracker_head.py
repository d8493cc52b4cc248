"""The tracker's head: it predicts the center and the size of the object."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from ..models.blocks import ConvNormAct, LowFormerBlock
from ..registry import MODELS

CONV_CFG: dict = dict(norm_cfg=dict(type='BN'),
                      act_cfg=dict(type='HSwish', inplace=False))
# LowFormer's stage 3.
ATTENTION = dict(stride=2, kernel=5, ratio=0.5, down='separable', up='dense')
# Least distance of scores from 0 and 1.
MARGIN = 1e-4
# Initial score of all positions, about log(0.1 / 0.9): the many positions
# without an object would dominate the first iterations.
PRIOR_LOGIT = -2.19


class SeparableConv(BaseModule):
    """Depthwise 3x3 and 1x1 convolution, both with ReLU, and BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        # Fusing norms with convolutions ignores a ReLU between them, so the
        # norm is no part of this sequence.
        self.convs = Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1,
                      groups=in_channels), nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 1), nn.ReLU())
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.convs(x))


@MODELS.register_module()
class TrackerHead(BaseModule):
    """Two towers of LowFormer's blocks, for the score and for the box.

    Source: the authors' tracker,
    https://github.com/altair199797/LowFormer-Track. Fewer blocks and separable
    convolutions make a light head.

    Args:
        channels (int): Channels of the input and of the towers.
        depths (Sequence[int]): Blocks in the towers of score and box.
            Defaults to ``(2, 4)``.
        block (Sequence[str]): Branches of a block, see ``LowFormer``'s
            ``arch``. Defaults to ``('norm_lowtention', 'norm_mlp',
            'local')``.
        depthwise_from_channels (float): Number of channels from which on the
            local branch is separable. Defaults to 256.
        init_cfg (dict | list, optional): Initialization. Defaults to none.

    Raises:
        ValueError: If an argument has a value that is not allowed.
    """

    def __init__(self, channels: int, depths: Sequence[int] = (2, 4),
                 block: Sequence[str] = ('norm_lowtention', 'norm_mlp',
                                         'local'),
                 depthwise_from_channels: float = 256,
                 init_cfg: dict | list | None = None):
        super().__init__(init_cfg)
        _check(channels, depths, block)
        towers = [Sequential(
            ConvNormAct(channels, channels, 3, padding=1,
                        norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')),
            *(LowFormerBlock(channels, tuple(block), ATTENTION,
                             depthwise_from_channels, 0., **CONV_CFG)
              for _ in range(depth))) for depth in depths]
        self.score_tower, self.box_tower = towers
        self.score = _branch(channels, 1)
        self.offset = _branch(channels, 2)
        self.size = _branch(channels, 2)
        nn.init.constant_(self.score[-1].bias, PRIOR_LOGIT)
        self.deployed = False

    def switch_to_deploy(self) -> None:
        """Rewrite the blocks for inference, as ``LowFormer`` does."""
        if self.deployed:
            return
        from ..models.reparameterize import fuse_for_inference
        fuse_for_inference(self)
        self.deployed = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict maps of the object's center and size.

        Args:
            x (Tensor): ``(N, channels, H, W)``.

        Returns:
            tuple[Tensor, Tensor, Tensor]: The score, ``(N, 1, H, W)``, the
            center's offset in positions, ``(N, 2, H, W)``, and width and
            height as fractions of the search region, ``(N, 2, H, W)``.
        """
        box = self.box_tower(x)
        score = self.score(self.score_tower(x))
        return _bounded(score), self.offset(box), _bounded(self.size(box))


def _branch(channels: int, out_channels: int) -> Sequential:
    return Sequential(
        SeparableConv(channels, channels),
        SeparableConv(channels, channels // 2),
        SeparableConv(channels // 2, channels // 4),
        nn.Conv2d(channels // 4, out_channels, 1))


def _bounded(x: Tensor) -> Tensor:
    # In bfloat16, 1 - MARGIN would be 1, and the loss infinite.
    return torch.sigmoid(x.float()).clamp(MARGIN, 1 - MARGIN)


def _check(channels: int, depths: Sequence[int],
           block: Sequence[str]) -> None:
    if channels < 4:
        raise ValueError(f'channels has to be at least 4, not {channels}.')
    if len(depths) != 2 or min(depths) < 0:
        raise ValueError('depths has to hold two numbers of blocks, for the '
                         f'score and for the box, not {depths!r}.')
    unknown = set(block) - set(LowFormerBlock.BRANCHES)
    if unknown or not block:
        raise ValueError(f'block has to hold some of '
                         f'{", ".join(LowFormerBlock.BRANCHES)}, not '
                         f'{block!r}.')
