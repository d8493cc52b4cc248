"""Check that neck and heads fit the feature maps of a LowFormer."""
from functools import reduce

from ..config.loading import dicts_in, kind_of
from ..errors import UserError
from ..models import LowFormer
from ..models.arch_validation import check_arch, check_out_indices

# Necks of classifiers that keep the channels of the last feature map.
KEEPING_CHANNELS = ('GlobalAveragePooling', 'None')
HEADS = ('rpn_head', 'bbox_head', 'roi_head', 'mask_head', 'panoptic_head')
# Feature pyramids, which may skip their first feature maps.
PYRAMIDS = ('FPN', 'PAFPN', 'FPN_CARAFE', 'NASFPN')
# Necks that keep the strides of their inputs, and halve the last one on.
NECKS = (*PYRAMIDS, 'ChannelMapper', 'CSPNeXtPAFPN', 'YOLOXPAFPN',
         'DilatedEncoder', 'BFP', 'DyHead')
# Necks whose in_channels begin with the last feature map.
REVERSED = ('YOLOV3Neck', )
# Those of SOLO resize their feature maps first.
STRIDED_HEADS = (
    'FCOSHead', 'YOLOXHead', 'CenterNetUpdateHead', 'VFNetHead', 'FoveaHead',
    'CondInstBboxHead', 'FSAFHead', 'FreeAnchorRetinaHead', 'NASFCOSHead')
# The semantic branch of HTC and SCNet outputs a feature map of its own.
OWN_FEATURE_MAP = 'semantic_roi_extractor'


def check_channels(model: dict, path: str = 'model') -> None:
    """Check the input channels of a neck, or of a classifier's head."""
    backbone = model.get('backbone') or {}
    if kind_of(backbone) != LowFormer.__name__:
        return
    given = _out_channels(backbone, path)
    wanted = _in_channels(model, 'neck')
    if isinstance(wanted, (list, tuple)):
        order = -1 if kind_of(model['neck']) in REVERSED else 1
        if list(wanted) != given[::order]:
            _refuse(f'{path}.neck', wanted, given,
                    str(given[::order]).replace(' ', ''))
    wanted = _in_channels(model, 'head')
    if (wanted not in (None, given[-1])
            and kind_of(model.get('neck') or {}) in KEEPING_CHANNELS):
        _refuse(f'{path}.head', wanted, given, str(given[-1]))


def check_strides(model: dict, path: str = 'model') -> None:
    """Check that the strides of a detector are those of its feature maps."""
    backbone = model.get('backbone') or {}
    if kind_of(backbone) != LowFormer.__name__:
        return
    indices = check_out_indices(
        backbone.get('out_indices', range(len(LowFormer.strides))),
        len(LowFormer.strides))
    levels = _neck_strides(model.get('neck'),
                           [LowFormer.strides[i] for i in indices])
    for part in HEADS if levels else ():
        for where, node in dicts_in(model.get(part), f'{path}.{part}'):
            key, strides = _strides(node, where)
            if key and strides != levels[:len(strides)]:
                raise UserError(
                    f'{where}.{key} is {strides}, but its feature maps have '
                    f'the strides {levels}: set {where}.{key}='
                    f'{str(levels[:len(strides)]).replace(" ", "")}, or other '
                    f'{path}.backbone.out_indices')


def _neck_strides(neck: object, given: list[int]) -> list[int]:
    """Strides that a neck outputs; empty if unknown."""
    if neck is None:
        return given
    if isinstance(neck, (list, tuple)):
        # A sequence of necks.
        return reduce(lambda strides, part: strides and _neck_strides(
            part, strides), neck, given)
    if not isinstance(neck, dict):
        return []
    kind = kind_of(neck)
    if kind not in NECKS:
        return []
    start, end = neck.get('start_level', 0), neck.get('end_level', -1)
    count = neck.get('num_outs')
    if kind not in PYRAMIDS:
        count = count or len(given)
    elif end in (-1, len(given) - 1):
        given = given[start:]
    else:
        given = given[start:end + 1]
    if kind in PYRAMIDS and isinstance(count, int) and count < len(given):
        return []  # Its own error is clear.
    if not given or not isinstance(count, int):
        return []
    return [*given, *(given[-1] * 2**i for i in range(1, count))][:count]


def _strides(node: dict, where: str) -> tuple[str, list[int]]:
    """The strides that a part of a head expects, and its argument."""
    kind = kind_of(node)
    if where.endswith(OWN_FEATURE_MAP):
        return '', []
    for key in ('featmap_strides', 'strides'):
        value = node.get(key)
        if (key == 'strides' and not where.endswith('generator')
                and kind not in STRIDED_HEADS):
            continue
        if isinstance(value, (list, tuple)) and value:
            # Of x and y, such as (8, 8).
            value = [item[0] if isinstance(item, (list, tuple)) and item
                     else item for item in value]
            if all(isinstance(item, int) for item in value):
                return key, value
    return '', []


def _in_channels(model: dict, part: str) -> object:
    value = model.get(part)
    return value.get('in_channels') if isinstance(value, dict) else None


def _out_channels(backbone: dict, path: str) -> list[int]:
    try:
        arch = check_arch(backbone.get('arch', 'b1'), LowFormer.arch_settings)
        indices = check_out_indices(
            backbone.get('out_indices', range(len(LowFormer.strides))),
            len(LowFormer.strides))
    except (ValueError, TypeError) as error:
        raise UserError(f'{path}.backbone: {error}') from error
    return [arch['widths'][i + 1] for i in indices]


def _refuse(part: str, wanted: object, given: list[int], remedy: str) -> None:
    maps = f'{len(given)} feature map{"s" if len(given) > 1 else ""}'
    raise UserError(
        f'{part}.in_channels is {wanted}, but the backbone outputs '
        f'{maps} of {", ".join(map(str, given))} channels: set '
        f'{part}.in_channels={remedy}, or other '
        f'{part.rsplit(".", 1)[0]}.backbone.out_indices')
