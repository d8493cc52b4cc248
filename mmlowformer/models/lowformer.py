"""LowFormer, a backbone of convolution and low-resolution attention."""
import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule, ModuleList, Sequential
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import _IncompatibleKeys
from torch.utils.checkpoint import checkpoint

from ..registry import MODELS
from .blocks import ConvNormAct, FusedMBConv, LowFormerBlock, Residual
from .deploy import fuse_for_inference
from .layouts import by_own_name, layout_of

# Of the residual FusedMBConvs in stages 1 and 2.
STAGE_EXPAND_RATIO = 4

B_BLOCK = ('norm_lowtention', 'norm_mlp', 'local')
E_BLOCK = ('local', )
E3_BLOCK = ('lowtention', 'local')


def _arch(widths, depths, downsample_expand_ratio, block):
    return dict(widths=widths, depths=depths, block=block, stem_expand_ratio=4,
                downsample_expand_ratio=downsample_expand_ratio)


@MMENGINE_MODELS.register_module()
@MODELS.register_module()
class LowFormer(BaseModule):
    """LowFormer backbone: feature maps at strides 4, 8, 16 and 32.

    A convolutional stem and two convolutional stages are followed by two
    stages of :class:`LowFormerBlock`, whose attention works on a halved
    resolution (stage 3) and halved channels. Sources: `LowFormer
    <https://arxiv.org/abs/2409.03460>`_ (WACV 2025) and `Beyond MACs
    <https://arxiv.org/abs/2603.26551>`_ (IJCV 2026).

    Images of any size are fine: an ``H x W`` image gives maps of
    ``ceil(H / s) x ceil(W / s)`` for each stride ``s``.

    Args:
        arch (str | dict): A variant, one of ``b0 b1 b15 b2 b3 e1 e2 e3``, or
            a dict with all keys of an entry of :attr:`arch_settings`:

            - ``widths``: channels of the stem and of the four stages.
            - ``depths``: number of blocks likewise. Stages 1 and 2 count
              their downsampling block and have at least 1; stages 3 and 4
              do not.
            - ``stem_expand_ratio``, ``downsample_expand_ratio``: expansion
              of the FusedMBConvs in the stem, and at the start of each stage.
            - ``block``: the residual branches of the blocks in stages 3 and
              4, a sequence from ``norm_lowtention lowtention norm_mlp
              local``.

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
        init_cfg (dict, optional): Initialization, for example
            ``dict(type='Pretrained', checkpoint=PATH)``. Defaults to none.
        pretrained (None): Not used; only there because base configs of
            mmsegmentation hand it to every backbone.

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
                 init_cfg: dict | None = None,
                 pretrained: None = None):
        super().__init__(init_cfg)
        if pretrained is not None:
            raise ValueError(
                f'LowFormer takes no pretrained={pretrained!r}. Use init_cfg='
                "dict(type='Pretrained', checkpoint=PATH), and pretrained="
                'None to overrule the one of a base config.')
        self.arch = self._check_arch(arch)
        self.out_indices = self._check_out_indices(out_indices)
        self.frozen_stages = self._check_frozen_stages(frozen_stages)
        if not 0 <= drop_path_rate < 1:
            raise ValueError('drop_path_rate has to be at least 0 and below '
                             f'1, not {drop_path_rate!r}.')
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.deployed = False
        self._conv_cfg = dict(
            norm_cfg=norm_cfg or dict(type='BN'),
            act_cfg=act_cfg or dict(type='HSwish', inplace=False))

        drop_paths = self._drop_paths(drop_path_rate)
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
        return Sequential(conv, *(
            self._conv_block(width, self.arch['stem_expand_ratio'],
                             next(drop_paths)) for _ in range(depth)))

    def _make_conv_stage(self, index: int,
                         drop_paths: Iterator[float]) -> Sequential:
        width, depth = (self.arch[key][index + 1] for key in
                        ('widths', 'depths'))
        return Sequential(self._downsample(index), *(
            self._conv_block(width, STAGE_EXPAND_RATIO, next(drop_paths))
            for _ in range(depth - 1)))

    def _make_lowformer_stage(self, index: int,
                              drop_paths: Iterator[float]) -> Sequential:
        width, depth = (self.arch[key][index + 1] for key in
                        ('widths', 'depths'))
        # Stage 4 is small enough as it is.
        attention_stride = 2 if index == 2 else 1
        return Sequential(self._downsample(index), *(
            LowFormerBlock(width, self.arch['block'], attention_stride,
                           next(drop_paths), **self._conv_cfg)
            for _ in range(depth)))

    def _downsample(self, index: int) -> FusedMBConv:
        in_width, width = self.arch['widths'][index:index + 2]
        return FusedMBConv(in_width, width, 2,
                           self.arch['downsample_expand_ratio'],
                           **self._conv_cfg)

    def _conv_block(self, width: int, expand_ratio: float,
                    drop_path: float) -> Residual:
        return Residual(
            FusedMBConv(width, width, 1, expand_ratio, **self._conv_cfg),
            drop_path)

    def _drop_paths(self, rate: float) -> Iterator[float]:
        """One probability for each residual block, stem first."""
        n0, n1, n2, n3, n4 = self.arch['depths']
        blocks = n0 + (n1 - 1) + (n2 - 1) + n3 + n4
        # Not on the default device, which may be "meta".
        return iter(torch.linspace(0, rate, blocks, device='cpu').tolist())

    @classmethod
    def _check_arch(cls, arch: str | dict) -> dict:
        if isinstance(arch, str):
            if arch not in cls.arch_settings:
                raise ValueError(f'LowFormer has no arch {arch!r}. ' + _hint(
                    arch, cls.arch_settings))
            return cls.arch_settings[arch]
        if not isinstance(arch, dict):
            raise TypeError('arch has to be the name of a variant or a dict, '
                            f'not {type(arch).__name__}.')
        keys = cls.arch_settings['b1'].keys()
        for key in arch:
            if key not in keys:
                raise ValueError(
                    f'The arch dict has an unknown key {key!r}. '
                    + _hint(key, keys))
        missing = [key for key in keys if key not in arch]
        if missing:
            raise ValueError(f'The arch dict lacks {", ".join(missing)}; it '
                             f'needs {", ".join(keys)}.')
        return cls._check_arch_values(dict(arch))

    @staticmethod
    def _check_arch_values(arch: dict) -> dict:
        for key, minima in (('widths', (2, ) * 5),
                            ('depths', (0, 1, 1, 0, 0))):
            values = arch[key]
            if len(values) != 5 or any(
                    not isinstance(value, int) or value < low
                    for value, low in zip(values, minima)):
                raise ValueError(
                    f'{key} of the arch dict has to hold 5 integers, at least '
                    f'{minima}, not {values!r}.')
        for key in ('stem_expand_ratio', 'downsample_expand_ratio'):
            if arch[key] <= 0:
                raise ValueError(f'{key} of the arch dict has to be positive, '
                                 f'not {arch[key]!r}.')
        kinds = []
        for name in arch['block']:
            if name not in LowFormerBlock.BRANCHES:
                raise ValueError(f'block of the arch dict has an unknown '
                                 f'branch {name!r}. '
                                 + _hint(name, LowFormerBlock.BRANCHES))
            kinds.append(name.removeprefix('norm_'))
        if not kinds or len(set(kinds)) < len(kinds):
            raise ValueError('block of the arch dict has to hold at least one '
                             'branch, and each kind at most once, not '
                             f'{arch["block"]!r}.')
        return arch

    @classmethod
    def _check_out_indices(cls, out_indices: int | Sequence[int]) -> tuple:
        indices = ((out_indices, ) if isinstance(out_indices, int) else
                   tuple(out_indices))
        count = len(cls.strides)
        for index in indices:
            if not isinstance(index, int) or not -count <= index < count:
                raise ValueError(
                    f'out_indices has {index!r}; allowed are 0 to {count - 1}'
                    f', or -{count} to -1 counted from the end.')
        positive = tuple(index % count for index in indices)
        if not positive or list(positive) != sorted(set(positive)):
            raise ValueError('out_indices has to name at least one stage, in '
                             f'increasing order, not {out_indices!r}.')
        return positive

    @classmethod
    def _check_frozen_stages(cls, frozen_stages: int) -> int:
        if frozen_stages not in range(-1, len(cls.strides) + 1):
            raise ValueError(
                f'frozen_stages is {frozen_stages!r}; allowed are -1 (none), '
                f'0 (the stem) and 1 to {len(cls.strides)} (the stem and so '
                'many stages).')
        return frozen_stages

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
            tuple[Tensor]: A map of ``(N, C, ceil(H / s), ceil(W / s))`` for
            each of ``out_indices``, ``C`` and ``s`` as in ``out_channels``
            and ``out_strides``.
        """
        x = self._run_blocks(self.stem, x)
        outputs = []
        for i, stage in enumerate(self.stages):
            x = self._run_blocks(stage, x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def _run_blocks(self, blocks: Sequential, x: Tensor) -> Tensor:
        for block in blocks:
            if self.with_cp and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False,
                               context_fn=partial(_checkpoint_contexts, block))
            else:
                x = block(x)
        return x

    def train(self, mode: bool = True) -> 'LowFormer':
        """Set training mode, except for what is frozen.

        Raises:
            RuntimeError: If the network was deployed.
        """
        if mode and self.deployed:
            raise RuntimeError(
                'A deployed LowFormer cannot be trained: its BatchNorms are '
                'gone. Build a new one and load the checkpoint of the '
                'training.')
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze_stages(self):
        if self.frozen_stages < 0:
            return
        for frozen in (self.stem, *self.stages[:self.frozen_stages]):
            frozen.eval()
            frozen.requires_grad_(False)

    def switch_to_deploy(self) -> 'LowFormer':
        """Rewrite the network for inference, in place and for good.

        BatchNorms, what can be of GroupNorms, and transposed convolutions of
        stride 1 become plain convolutions; weights become channels-last. On a
        CPU, without gradients, convolutions with many channels go by
        Winograd's algorithm, and wide maps are computed part by part. The
        outputs stay what they are up to rounding. A second call does nothing.

        Returns:
            LowFormer: The network itself.

        Raises:
            RuntimeError: If it is in training mode.
        """
        if self.deployed:
            return self
        if self.training:
            raise RuntimeError('LowFormer is in training mode; call eval() '
                               'before switch_to_deploy().')
        fuse_for_inference(self)
        self.deployed = True
        return self

    def load_state_dict(self, state_dict: dict, strict: bool = True,
                        assign: bool = False) -> _IncompatibleKeys:
        """Load tensors of any layout, see ``torch.nn.Module``.

        Args:
            state_dict (dict): Tensors in our, the authors' or timm's layout.
                Those of a classifier are left aside.
            strict (bool): Whether all tensors of the backbone have to be
                there. Defaults to True.
            assign (bool): Whether to take the tensors over instead of copying
                them. Defaults to False.

        Returns:
            _IncompatibleKeys: ``missing_keys`` and ``unexpected_keys``.

        Raises:
            ValueError: If ``strict``, and tensors are missing or have another
                shape.
            RuntimeError: If not ``strict``, and tensors have another shape.
        """
        if strict:
            return super().load_state_dict(state_dict, assign=assign)
        # torch does not hand "strict" down to _load_from_state_dict, which
        # wants the whole backbone; its parts do not.
        given = self._by_own_name(state_dict)
        for prefix, part in self.named_children():
            part.load_state_dict(
                {name.removeprefix(f'{prefix}.'): value
                 for name, value in given.items()
                 if name.startswith(f'{prefix}.')},
                strict=False, assign=assign)
        own = self.state_dict()
        return _IncompatibleKeys([name for name in own if name not in given],
                                 [name for name in given if name not in own])

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args):
        # As a part of a detector its tensors have our names already.
        if not prefix:
            self._to_own_layout(state_dict)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _to_own_layout(self, state_dict: dict):
        """Rename tensors of any layout in place, and leave others aside."""
        layout = layout_of(state_dict)
        given = self._by_own_name(state_dict)
        needed = self.state_dict()
        found = {name: given[name] for name, value in needed.items()
                 if name in given and given[name].shape == value.shape}
        text = (f'{self._own_name()}: {len(found)}/{len(needed)} tensors from '
                f'{self._source()} ({layout})')
        if len(found) < len(needed) or self.surplus(given):
            raise ValueError(f'{text}. {self._misfit(given, needed)}')
        print_log(text, 'current')
        state_dict.clear()
        state_dict.update(found)

    @staticmethod
    def _by_own_name(state_dict: dict) -> dict:
        return {own: state_dict[name]
                for own, name in by_own_name(state_dict).items()}

    def surplus(self, names: Iterable[str]) -> list[str]:
        """Tensors of a larger network, of which this one is a part.

        The E variants are parts of B variants with the same widths.

        Args:
            names (Iterable[str]): Names of tensors, ours.

        Returns:
            list[str]: Those of a stem or of stages that are not in it. Stages
            behind the last of ``out_indices``, which are not built, do not
            count.
        """
        own = self.state_dict()
        not_built = tuple(f'stages.{i}.' for i in
                          range(len(self.stages), len(self.strides)))
        return [name for name in names if name not in own
                and name.startswith(('stem.', 'stages.'))
                and not name.startswith(not_built)]

    def _own_name(self) -> str:
        names = [name for name, settings in self.arch_settings.items()
                 if settings == self.arch]
        return f'LowFormer-{names[0]}' if names else 'LowFormer'

    def _source(self) -> str:
        configs = (self.init_cfg if isinstance(self.init_cfg, list) else
                   [self.init_cfg or {}])
        return next((config['checkpoint'] for config in configs
                     if 'checkpoint' in config), 'a state dict')

    def _misfit(self, given: dict, needed: dict) -> str:
        misfits = [name for name, value in needed.items() if name not in given
                   or given[name].shape != value.shape]
        if self.deployed != is_deployed(given):
            return DEPLOYED_MISFIT[self.deployed]
        surplus = self.surplus(given)
        if misfits:
            text = f'Missing or of another shape: {", ".join(misfits[:3])}. '
        else:
            text = (f'{len(surplus)} more are not part of it: '
                    f'{", ".join(surplus[:3])}. ')
        variant = self._variant_of(given)
        if variant:
            return text + (f'The file is {variant}: set arch={variant!r}, or '
                           'take another file.')
        return text + 'The file holds none of the published variants.'

    @classmethod
    def _variant_of(cls, tensors: dict) -> str | None:
        """The variant that tensors, with our names, are of."""
        shapes = {name: tensor.shape for name, tensor in tensors.items()
                  if name.startswith(('stem.', 'stages.'))}
        for arch in cls.arch_settings:
            with torch.device('meta'):
                state = cls(arch).state_dict()
            if shapes == {name: value.shape for name, value in state.items()}:
                return arch
        return None

    def get_layer_depth(self, param_name: str,
                        prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter, for layer-wise learning rate decay.

        Args:
            param_name (str): Name of the parameter.
            prefix (str): Prefix of the backbone's parameters in it. Defaults
                to none.

        Returns:
            tuple[int, int]: The depth of the layer, 0 in the stem and rising
            by 1 with each block, and the number of depths, the last of which
            is that of everything behind the backbone.
        """
        first_blocks = [1]
        for stage in self.stages:
            first_blocks.append(first_blocks[-1] + len(stage))
        num_layers = first_blocks[-1] + 1
        if param_name.startswith(f'{prefix}stem.'):
            return 0, num_layers
        if param_name.startswith(f'{prefix}stages.'):
            _, stage, block = param_name.removeprefix(prefix).split('.')[:3]
            return first_blocks[int(stage)] + int(block), num_layers
        return num_layers - 1, num_layers


# By whether the network is the deployed one.
DEPLOYED_MISFIT = {
    True: 'This LowFormer is deployed, the weights are those of a training: '
    'load them before switch_to_deploy().',
    False: 'The weights are those of a deployed LowFormer, without its '
    'BatchNorms. Take the checkpoint of the training, or call '
    'switch_to_deploy() before loading.',
}


def is_deployed(names: Iterable[str]) -> bool:
    """Whether tensors, with our names, are of a deployed LowFormer."""
    names = list(names)
    return ('stem.0.conv.bias' in names
            and not any('.bn.' in name for name in names))


def _hint(name: str, allowed) -> str:
    """The allowed names and the one that was probably meant."""
    allowed = list(allowed)
    close = difflib.get_close_matches(str(name), allowed, n=1) or sorted(
        (item for item in allowed if item in str(name)), key=len)[-1:]
    meant = f' Did you mean {close[0]!r}?' if close else ''
    return f'Allowed are: {", ".join(allowed)}.{meant}'


def _checkpoint_contexts(block: nn.Module) -> tuple:
    """Contexts of the first computation and of the one in backward."""
    return nullcontext(), _keep_running_stats(block)


@contextmanager
def _keep_running_stats(module: nn.Module):
    """Recomputing activations must not count a batch twice in BatchNorm."""
    buffers = [buffer for norm in module.modules()
               if isinstance(norm, _BatchNorm) for buffer in norm.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, kept):
                buffer.copy_(value)
