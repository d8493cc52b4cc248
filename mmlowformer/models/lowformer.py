"""LowFormer, a backbone of convolution and low-resolution attention."""
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.model import (
    BaseTTAModel,
    ModuleList,
    Sequential,
    is_model_wrapper,
)
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor, nn

from ..registry import MODELS
from .arch_validation import (
    ARCH_DEFAULTS,
    check_arch,
    check_drop_path_rate,
    check_out_indices,
    init_cfg_for,
)
from .base_backbone import BaseBackbone, CheckpointedSequential
from .blocks import CONV_BLOCKS, ConvNormAct, LowFormerBlock, Residual

# Of the residual convolutional blocks in stages 1 and 2.
STAGE_EXPAND_RATIO = 4

B_BLOCK = ('norm_lowtention', 'norm_mlp', 'local')
E_BLOCK = ('local', )
E3_BLOCK = ('lowtention', 'local')


def _arch(widths, depths, downsample_expand_ratio, block):
    return dict(ARCH_DEFAULTS, widths=widths, depths=depths, block=block,
                stem_expand_ratio=4,
                downsample_expand_ratio=downsample_expand_ratio)


@MMENGINE_MODELS.register_module()
@MODELS.register_module()
class LowFormer(BaseBackbone):
    """LowFormer backbone: feature maps at strides 4, 8, 16 and 32.

    A convolutional stem and two convolutional stages are followed by two
    stages of :class:`LowFormerBlock`, whose attention works on a halved
    resolution (stage 3) and halved channels. Sources: `LowFormer
    <https://arxiv.org/abs/2409.03460>`_ (WACV 2025) and `Beyond MACs
    <https://arxiv.org/abs/2603.26551>`_ (IJCV 2026).

    Images may have any size: an ``H x W`` image gives feature maps of
    ``ceil(H / s) x ceil(W / s)`` for each stride ``s``.

    Args:
        arch (str | dict): A variant, one of ``b0 b1 b15 b2 b3 e1 e2 e3``, or
            ``B1.5`` as the paper writes it; an ablation like
            ``b1_full_resolution`` (docs/ablations.md); or a dict of:

            - ``widths``: channels of the stem and of the four stages.
            - ``depths``: number of blocks likewise. Stages 1 and 2 count
              their downsampling block and have at least 1; stages 3 and 4
              do not.
            - ``stem_expand_ratio``, ``downsample_expand_ratio``: expansion
              of the blocks in the stem, and at the start of each stage.
            - ``block``: the residual branches of the blocks in stages 3 and
              4, a sequence from ``norm_lowtention lowtention
              relu_linear_attention norm_mlp local``.
            - ``variant``, optional: the variant that gives missing keys.
            - ``conv_block``, optional: ``fused_mbconv`` (default) or
              ``mbconv``, up to stage 2 and at the start of each stage.
            - ``depthwise_from_channels``, optional: the local branch is a
              fused MBConv below so many channels, an MBConv from there on.
              Defaults to 256.
            - ``attention_ratio``, optional: channels of the Lowtention over
              the block's, at most 1. Defaults to 0.5.
            - ``attention_strides``, ``attention_kernels``,
              ``attention_downs``, ``attention_ups``, optional: of the
              Lowtention in stages 3 and 4, see there. Default to (2, 1),
              (5, 3), and the ways down ``separable``, up ``dense``.

            Defaults to ``'b1'``.
        in_channels (int): Channels of the image. Defaults to 3.
        out_indices (int | Sequence[int]): Which of the four stages to
            output, increasing; negative ones count from the end. Stages
            behind the last of them are not built. Defaults to
            ``(0, 1, 2, 3)``.
        frozen_stages (int): -1 freezes nothing, 0 the stem, ``k`` the stem
            and the stages up to the k-th: parameters without gradient,
            BatchNorm and drop path in eval mode. Defaults to -1.
        norm_eval (bool): Whether BatchNorm stays in eval mode while training.
            Defaults to False.
        norm_cfg (dict, optional): Norm of the convolutions. Defaults to
            ``dict(type='BN')``.
        act_cfg (dict, optional): Activation of the convolutions. Defaults to
            ``dict(type='HSwish', inplace=False)``: autograd clones the input
            of an in-place one.
        drop_path_rate (float): Stochastic depth of the last block; rises
            linearly from 0 in the first. Defaults to 0.
        with_cp (bool): Whether to recompute the blocks' activations in the
            backward pass, which saves memory and costs time. Defaults to
            False.
        init_cfg (dict | list, optional): Initialization, for example
            ``dict(type='Pretrained', checkpoint=PATH)``. Defaults to None.
        pretrained (str, optional): File of the weights, as OpenMMLab's older
            backbones take it; short for such an ``init_cfg``. Defaults to
            None.

    Raises:
        ValueError: If an argument has a value that is not allowed.
        TypeError: If ``arch`` is neither a name nor a dict.

    Example:
        >>> import torch
        >>> from mmlowformer import LowFormer
        >>> model = LowFormer(arch='b1').eval()
        >>> with torch.no_grad():
        ...     outputs = model(torch.rand(1, 3, 512, 512))
        >>> for output in outputs:
        ...     print(tuple(output.shape))
        (1, 32, 128, 128)
        (1, 64, 64, 64)
        (1, 128, 32, 32)
        (1, 256, 16, 16)
    """

    arch_settings = {
        'b0': _arch((16, 32, 64, 128, 256), (0, 1, 1, 3, 4), 4, B_BLOCK),
        'b1': _arch((16, 32, 64, 128, 256), (0, 1, 1, 5, 5), 6, B_BLOCK),
        'b15': _arch((20, 40, 80, 160, 320), (0, 1, 1, 6, 6), 6, B_BLOCK),
        'b2': _arch((24, 48, 96, 192, 384), (0, 1, 1, 6, 6), 6, B_BLOCK),
        'b3': _arch((32, 64, 128, 256, 512), (1, 2, 3, 6, 6), 6, B_BLOCK),
        'e1': _arch((20, 40, 80, 160, 320), (0, 1, 1, 4, 4), 6, E_BLOCK),
        'e2': _arch((32, 64, 128, 256, 512), (1, 2, 3, 4, 4), 6, E_BLOCK),
        'e3': _arch((32, 64, 128, 256, 512), (1, 2, 3, 6, 6), 6, E3_BLOCK),
    }
    strides = (4, 8, 16, 32)

    def __init__(self,
                 arch: str | dict = 'b1',
                 in_channels: int = 3,
                 out_indices: int | Sequence[int] = (0, 1, 2, 3),
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 norm_cfg: dict | None = None,
                 act_cfg: dict | None = None,
                 drop_path_rate: float = 0.,
                 with_cp: bool = False,
                 init_cfg: dict | list | None = None,
                 pretrained: str | None = None):
        super().__init__(frozen_stages, norm_eval,
                         init_cfg_for(pretrained, init_cfg))
        self.arch = check_arch(arch, self.arch_settings)
        self.out_indices = check_out_indices(out_indices, len(self.strides))
        self.with_cp = with_cp
        self._conv_cfg: dict[str, Any] = dict(
            norm_cfg=norm_cfg or dict(type='BN'),
            act_cfg=act_cfg or dict(type='HSwish', inplace=False))

        drop_paths = self._drop_paths(check_drop_path_rate(drop_path_rate))
        self.stem = self._make_stem(in_channels, drop_paths)
        makers = (self._make_conv_stage, self._make_conv_stage,
                  self._make_lowformer_stage, self._make_lowformer_stage)
        self.stages = ModuleList(
            makers[i](i, drop_paths) for i in range(max(self.out_indices) + 1))
        self._freeze_stages()

    def _make_stem(self, in_channels: int,
                   drop_paths: Iterator[float]) -> Sequential:
        width, depth = self.arch['widths'][0], self.arch['depths'][0]
        conv = ConvNormAct(
            in_channels, width, 3, stride=2, padding=1, **self._conv_cfg)
        return self._chain(conv, *(
            self._conv_block(width, self.arch['stem_expand_ratio'],
                             next(drop_paths)) for _ in range(depth)))

    def _make_conv_stage(self, index: int,
                         drop_paths: Iterator[float]) -> Sequential:
        width, depth = (self.arch[key][index + 1] for key in
                        ('widths', 'depths'))
        return self._chain(self._downsample(index), *(
            self._conv_block(width, STAGE_EXPAND_RATIO, next(drop_paths))
            for _ in range(depth - 1)))

    def _make_lowformer_stage(self, index: int,
                              drop_paths: Iterator[float]) -> Sequential:
        width, depth = (self.arch[key][index + 1] for key in
                        ('widths', 'depths'))
        attention = {key: self.arch[f'attention_{key}s'][index - 2]
                     for key in ('stride', 'kernel', 'down', 'up')}
        attention['ratio'] = self.arch['attention_ratio']
        return self._chain(self._downsample(index), *(
            LowFormerBlock(width, self.arch['block'], attention,
                           self.arch['depthwise_from_channels'],
                           next(drop_paths), **self._conv_cfg)
            for _ in range(depth)))

    def _chain(self, *blocks: nn.Module) -> Sequential:
        kind = CheckpointedSequential if self.with_cp else Sequential
        return kind(*blocks)

    def _downsample(self, index: int) -> nn.Module:
        return self._conv(*self.arch['widths'][index:index + 2], 2,
                          self.arch['downsample_expand_ratio'])

    def _conv_block(self, width: int, expand_ratio: float,
                    drop_path: float) -> Residual:
        return Residual(self._conv(width, width, 1, expand_ratio), drop_path)

    def _conv(self, *shape) -> nn.Module:
        return CONV_BLOCKS[self.arch['conv_block']](*shape, **self._conv_cfg)

    def _drop_paths(self, rate: float) -> Iterator[float]:
        """One probability for each residual block, stem first."""
        n0, n1, n2, n3, n4 = self.arch['depths']
        blocks = n0 + (n1 - 1) + (n2 - 1) + n3 + n4
        # Not on the default device, which may be "meta".
        return iter(torch.linspace(0, rate, blocks, device='cpu').tolist())

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each output."""
        return tuple(self.arch['widths'][i + 1] for i in self.out_indices)

    @property
    def out_strides(self) -> tuple[int, ...]:
        """Stride of each output."""
        return tuple(self.strides[i] for i in self.out_indices)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps.

        Args:
            x (Tensor): Images, ``(N, in_channels, H, W)``.

        Returns:
            tuple[Tensor]: A feature map ``(N, C, ceil(H / s), ceil(W / s))``
            for each of ``out_indices``, ``C`` and ``s`` as in ``out_channels``
            and ``out_strides``.
        """
        x = self.stem(x)
        outputs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)


def find_lowformers(model: nn.Module) -> dict[str, LowFormer]:
    """The LowFormers in a model."""
    return {f'{name}.' if name else '': module
            for name, module in model.named_modules()
            if isinstance(module, LowFormer)}


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model itself."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    return model
