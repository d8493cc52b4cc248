"""Check the arguments of LowFormer."""
import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence

from .blocks import CONV_BLOCKS, LowFormerBlock, Lowtention

# Of the stem and of the four stages. The depth of a stage that only
# downsamples is 1 (stages 1 and 2) or 0 (stages 3 and 4).
MIN_WIDTHS = (2, 2, 2, 2, 2)
MIN_DEPTHS = (0, 1, 1, 0, 0)
# Optional keys of an arch dict, see LowFormer.
ARCH_DEFAULTS = dict(
    conv_block='fused_mbconv', depthwise_from_channels=256,
    attention_ratio=0.5, attention_strides=(2, 1), attention_kernels=(5, 3),
    attention_downs=('separable', 'separable'),
    attention_ups=('dense', 'dense'))
ATTENTION_STRIDES = (1, 2, 4)
MAX_KERNEL = 15
# MMEngine's schemes of weights, none of which are of LowFormer.
OPENMMLAB_WEIGHTS = ('open-mmlab://', 'openmmlab://', 'torchvision://',
                     'mmcls://')


def check_arch(arch: str | dict, settings: Mapping[str, dict]) -> dict:
    """Look up a variant, or check an arch dict."""
    if isinstance(arch, str):
        # The paper writes B1.5.
        name = arch.lower().replace('.', '')
        if name in settings:
            return settings[name]
        # Loaded if a config names one.
        from .ablations import ABLATIONS
        if name not in ABLATIONS:
            raise ValueError(f'LowFormer has no arch {arch!r}. '
                             + _hint(name, [*settings, *ABLATIONS]))
        arch = ABLATIONS[name]
    if not isinstance(arch, dict):
        raise TypeError('arch has to be the name of a variant or a dict, not '
                        f'{type(arch).__name__}.')
    return _check_description(_complete(arch, settings))


def _complete(arch: dict, settings: Mapping[str, dict]) -> dict:
    """Fill in missing keys from the variant, or from the defaults."""
    arch = dict(arch)
    variant = arch.pop('variant', None)
    if variant is not None and variant not in settings:
        raise ValueError(f'variant of the arch dict is {variant!r}. '
                         + _hint(str(variant), settings))
    given = {**ARCH_DEFAULTS, **settings.get(variant, {}), **arch}
    _check_keys(given, next(iter(settings.values())))
    # It may be an iterator, which could be read only once.
    return dict(given, block=tuple(given['block']))


def _check_description(arch: dict) -> dict:
    _check_integers('widths', arch['widths'], MIN_WIDTHS)
    _check_integers('depths', arch['depths'], MIN_DEPTHS)
    for key in ('stem_expand_ratio', 'downsample_expand_ratio'):
        if arch[key] <= 0:
            raise ValueError(f'{key} of the arch dict has to be positive, not '
                             f'{arch[key]!r}.')
    _check_block(arch['block'])
    if arch['conv_block'] not in CONV_BLOCKS:
        raise ValueError('conv_block of the arch dict is '
                         f'{arch["conv_block"]!r}. '
                         + _hint(arch['conv_block'], CONV_BLOCKS))
    if not isinstance(arch['depthwise_from_channels'], (int, float)):
        raise ValueError('depthwise_from_channels of the arch dict has to be a'
                         f' number, not {arch["depthwise_from_channels"]!r}.')
    _check_attention(arch)
    return arch


def _check_attention(arch: dict) -> None:
    ratio = arch['attention_ratio']
    if not 1 / min(arch['widths'][3:]) <= ratio <= 1:
        raise ValueError('attention_ratio of the arch dict has to be at most '
                         f'1, and leave a channel, not {ratio!r}.')
    for key in ('attention_downs', 'attention_ups'):
        _check_pair(arch, key, Lowtention.WAYS)
    strides = _check_pair(arch, 'attention_strides', ATTENTION_STRIDES)
    kernels = _check_pair(arch, 'attention_kernels',
                          range(1, MAX_KERNEL + 1, 2))
    if any(kernel < stride for kernel, stride in zip(kernels, strides)):
        raise ValueError(f'attention_kernels {kernels} of the arch dict would '
                         f'skip pixels: attention_strides are {strides}.')


def _check_pair(arch: dict, key: str, allowed: Collection) -> tuple:
    """A value for each of the stages 3 and 4."""
    pair = tuple(arch[key])
    if len(pair) != 2 or any(value not in allowed for value in pair):
        raise ValueError(f'{key} of the arch dict has to hold two, for the '
                         'stages 3 and 4, of '
                         f'{", ".join(map(str, allowed))}, not {pair!r}.')
    return pair


def _check_keys(arch: dict, needed: Iterable[str]) -> None:
    for key in arch:
        if key not in needed:
            raise ValueError(f'The arch dict has an unknown key {key!r}. '
                             + _hint(key, needed))
    missing = [key for key in needed if key not in arch]
    if missing:
        raise ValueError(f'The arch dict lacks {", ".join(missing)}; it needs '
                         f'{", ".join(needed)}.')


def _check_integers(key: str, values: Sequence[int],
                    minima: tuple[int, ...]) -> None:
    if len(values) != len(minima) or any(
            not isinstance(value, int) or value < low
            for value, low in zip(values, minima)):
        raise ValueError(f'{key} of the arch dict has to hold {len(minima)} '
                         f'integers, at least {minima}, not {values!r}.')


def _check_block(block: Iterable[str]) -> None:
    kinds = []
    for name in block:
        if name not in LowFormerBlock.BRANCHES:
            raise ValueError('block of the arch dict has an unknown branch '
                             f'{name!r}. '
                             + _hint(name, LowFormerBlock.BRANCHES))
        kinds.append(name.removeprefix('norm_'))
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError('block of the arch dict has to hold at least one '
                         'branch, and each kind at most once, not '
                         f'{block!r}.')


def check_out_indices(out_indices: int | Sequence[int],
                      count: int) -> tuple[int, ...]:
    """Check that the outputs are stages, and count them from 0."""
    indices = ((out_indices, ) if isinstance(out_indices, int) else
               tuple(out_indices))
    for index in indices:
        if not isinstance(index, int) or not -count <= index < count:
            raise ValueError(
                f'out_indices has {index!r}; allowed are 0 to {count - 1}, or '
                f'-{count} to -1 counted from the end.')
    positive = tuple(index % count for index in indices)
    if not positive or list(positive) != sorted(set(positive)):
        raise ValueError('out_indices has to name at least one stage, in '
                         f'increasing order, not {out_indices!r}.')
    return positive


def check_frozen_stages(frozen_stages: int, count: int) -> int:
    """Check that so many stages exist."""
    if frozen_stages not in range(-1, count + 1):
        raise ValueError(
            f'frozen_stages is {frozen_stages!r}; allowed are -1 (none), 0 '
            f'(the stem) and 1 to {count} (the stem and so many stages).')
    return frozen_stages


def init_cfg_for(pretrained: str | None,
                 init_cfg: dict | list | None) -> dict | list | None:
    """Turn ``pretrained=`` of older backbones into ``init_cfg``."""
    if pretrained is None:
        return init_cfg
    if pretrained.startswith(OPENMMLAB_WEIGHTS):
        raise ValueError(
            f'pretrained={pretrained!r} are weights of another backbone, '
            'probably of a base config. Set pretrained=None there, and train '
            'with --weights published, or set '
            "init_cfg=dict(type='Pretrained', checkpoint=PATH) for LowFormer's"
            ' own.')
    if init_cfg is not None:
        raise ValueError(f'pretrained={pretrained!r} and init_cfg are both '
                         'given; leave one of them out.')
    return dict(type='Pretrained', checkpoint=pretrained)


def check_drop_path_rate(rate: float) -> float:
    """Check that it is a probability below 1."""
    if not 0 <= rate < 1:
        raise ValueError('drop_path_rate has to be at least 0 and below 1, '
                         f'not {rate!r}.')
    return rate


def _hint(name: str, allowed: Iterable[str]) -> str:
    """List the allowed names, and the most similar one."""
    allowed = list(allowed)
    close = difflib.get_close_matches(str(name), allowed, n=1) or sorted(
        (item for item in allowed if item in str(name)), key=len)[-1:]
    meant = f' Did you mean {close[0]!r}?' if close else ''
    return f'Allowed are: {", ".join(allowed)}.{meant}'
