"""The types that a config inside a checkpoint or an export may build.

The libraries evaluate some strings of a config, open files that others name,
and import any package that a type name begins with. So this is an allowlist:
classes whose code was reviewed for that, and the strings that each of them
accepts. ``tests/checkpoint/test_hostile_configs.py`` looks for new places in
the libraries that evaluate, import or unpickle.
"""
import re
from collections.abc import Iterator
from typing import cast

LIBRARIES = ('mmcv', 'mmdet', 'mmengine', 'mmlowformer', 'mmpretrain', 'mmseg')
# Libraries whose layers are registered by their bare names.
LAYERS = ('mmcv', 'mmengine', 'torch', 'torchvision')
# Arguments that would load files, and are not needed: all weights are in the
# checkpoint.
REPLACED: dict[str, object] = dict(
    init_cfg=None, pretrained=None, backend_args=None, prototype={})

WORD = r'\w+'
REDUCTION = dict(reduction='none|mean|sum')
INTERPOLATION = 'nearest|bilinear|bicubic|area|lanczos'
BACKENDS = 'cv2|pillow'
META_KEYS = dict(meta_keys=WORD, algorithm_keys=WORD)
# By type: the strings that an argument, or a value nested in it, may have.
TYPES: dict[str, dict[str, str]] = {
    **dict.fromkeys((
        # Models
        'ATSS', 'ByteTrack', 'CascadeRCNN', 'DETR', 'DINO', 'DeformableDETR',
        'FCOS', 'FasterRCNN', 'Mask2Former', 'MaskRCNN', 'MaskTrackRCNN',
        'OCSORT', 'QDTrack', 'RTMDet', 'RetinaNet', 'YOLOV3', 'YOLOX',
        'ImageClassifier', 'LowFormerImageClassifier', 'Mask2FormerVideo',
        'ClsDataPreprocessor', 'DetDataPreprocessor',
        'MultiBranchDataPreprocessor', 'SegDataPreProcessor',
        'TrackDataPreprocessor', 'TrackerPreprocessor', 'BatchFixedSizePad',
        'BatchSyncRandomResize', 'CutMix', 'Mixup',
        # Necks
        'ChannelMapper', 'CSPNeXtPAFPN', 'GlobalAveragePooling',
        'MSDeformAttnPixelDecoder', 'YOLOV3Neck',
        # Heads
        'ATSSHead', 'CascadeRoIHead', 'DETRHead', 'DINOHead',
        'DeformableDETRHead', 'FCOSHead', 'FCNMaskHead', 'LowFormerClsHead',
        'Mask2FormerHead', 'Mask2FormerTrackHead', 'MaskFormerFusionHead',
        'QuasiDenseEmbedHead', 'QuasiDenseTrackHead', 'RPNHead', 'RTMDetHead',
        'RTMDetInsSepBNHead', 'RTMDetSepBNHead', 'RetinaHead', 'RoIEmbedHead',
        'RoITrackHead', 'Shared2FCBBoxHead', 'SingleRoIExtractor',
        'StandardRoIHead', 'TrackerHead', 'YOLOV3Head', 'YOLOXHead',
        # Generators, coders, assigners, samplers, trackers
        'AnchorGenerator', 'MlvlPointGenerator', 'YOLOAnchorGenerator',
        'DeltaXYWHBBoxCoder', 'DistancePointBBoxCoder', 'YOLOBBoxCoder',
        'ATSSAssigner', 'DynamicSoftLabelAssigner', 'GridAssigner',
        'HungarianAssigner', 'MaxIoUAssigner', 'SimOTAAssigner',
        'ClassificationCost', 'CrossEntropyLossCost', 'DiceCost',
        'FocalLossCost', 'CombinedSampler', 'InstanceBalancedPosSampler',
        'MaskPseudoSampler', 'PseudoSampler', 'RandomSampler', 'KalmanFilter',
        'ByteTracker', 'ClassAgnosticByteTracker', 'MaskTrackRCNNTracker',
        'OCSORTTracker', 'SinePositionalEncoding3D', 'BboxOverlaps2D',
        # Layers
        'BN', 'BN2d', 'GELU', 'GN', 'LN', 'LN2d', 'LeakyReLU', 'Conv2d',
        'ReLU', 'ReLU6', 'SiLU', 'Swish', 'SyncBN', 'HSwish', 'Hardswish',
        'nms', 'soft_nms',
        # Transforms
        'CenterCrop', 'LoadTrackAnnotations', 'ResizeToMultiple',
        'TransformBroadcaster', 'Normalize', 'PackVideo',
    ), {}),
    **dict.fromkeys((
        'CrossEntropyLoss', 'DiceLoss', 'FocalLoss', 'GIoULoss', 'IoULoss',
        'L1Loss', 'LabelSmoothLoss', 'MSELoss', 'MarginL2Loss',
        'MultiPosCrossEntropyLoss', 'QualityFocalLoss', 'SmoothL1Loss',
    ), dict(REDUCTION, mode='linear|square|log|original|classy_vision|'
                            'multi_label', loss_type='loss_\\w+')),
    **dict.fromkeys((
        'CascadeEncoderDecoder', 'EncoderDecoder', 'ASPPHead',
        'DepthwiseSeparableASPPHead', 'FCNHead', 'FPNHead', 'OCRHead',
        'PSPHead', 'SegformerHead', 'UPerHead',
    ), dict(test_cfg='whole|slide', input_transform='multiple_select|'
            'resize_concat', interpolate_mode=INTERPOLATION)),
    **dict.fromkeys(('PackDetInputs', 'PackInputs', 'PackSegInputs',
                     'PackTrackInputs'), META_KEYS),
    'BBoxL1Cost': dict(box_format='xyxy|xywh'),
    'FPN': dict(add_extra_convs='on_input|on_lateral|on_output',
                upsample_cfg=INTERPOLATION),
    'ImageToImageRetriever': dict(similarity_fn='cosine_similarity'),
    'IoUCost': dict(iou_mode='iou|giou'),
    'LinearClsHead': {},
    'LoadAnnotations': dict(imdecode_backend=BACKENDS, box_type='hbox'),
    'LoadImageFromFile': dict(
        imdecode_backend=BACKENDS,
        color_type='color|grayscale|unchanged|color_ignore_orientation'),
    'LowFormer': dict(arch=WORD),
    'LowFormerTracker': dict(box_cell=WORD),
    'Pad': dict(padding_mode='constant|edge|reflect|symmetric'),
    'QuasiDenseTracker': dict(match_metric='bisoftmax|softmax|cosine'),
    'RandomFlip': dict(direction='horizontal|vertical|diagonal'),
    'Resize': dict(backend=BACKENDS, interpolation=INTERPOLATION),
    'ResizeEdge': dict(backend=BACKENDS, interpolation=INTERPOLATION,
                       edge='short|long|width|height'),
    'RoIAlign': dict(pool_mode='avg|max'),
    'SoftTeacher': dict(semi_test_cfg='teacher|student'),
    'YOLOXPAFPN': dict(upsample_cfg=INTERPOLATION),
}
# Data sets are not built; their types give the names of classes.
DATASETS = ('ADE20KDataset', 'BaseSegDataset', 'CocoDataset', 'CustomDataset',
            'ImageNet', 'MOTChallengeDataset', 'YouTubeVISDataset')
PLAIN = (bool, int, float, type(None))
# Maximum characters that a message repeats.
LONGEST = 80


class NotAllowed(ValueError):
    """A value that is not on the list; the text names it."""


def allowed(node, path: str = '') -> object:
    """Copy a part of a config, if all that it builds is on the list."""
    return _copied(node, path, {}, '')


def _copied(node, path: str, texts: dict[str, str], argument: str) -> object:
    if isinstance(node, dict):
        return _copied_dict(node, path, texts, argument)
    if isinstance(node, (list, tuple)):
        return type(node)(_copied(item, f'{path}[{index}]', texts, argument)
                          for index, item in enumerate(node))
    if isinstance(node, str):
        if not re.fullmatch(texts.get(argument, r'(?!)'), node):
            raise NotAllowed(_shown(path, node))
        return node
    if type(node) not in PLAIN:
        raise NotAllowed(_shown(path, node))
    return node


def _copied_dict(node: dict, path: str, texts: dict[str, str],
                 argument: str) -> dict:
    copy: dict[str, object] = {}
    if 'type' in node:
        copy['type'], texts = _type(node['type'], f'{path}.type')
        argument = ''
    for key, value in node.items():
        if not isinstance(key, str):
            raise NotAllowed(_shown(path, key))
        if key == 'type':
            continue
        where = f'{path}.{key}'.lstrip('.')
        if key == '_scope_':
            copy[key] = allowed_scope(value, where)
        elif key in REPLACED:
            copy[key] = REPLACED[key]
        else:
            copy[key] = _copied(value, where, texts, argument or key)
    return copy


def _type(kind: object, path: str) -> tuple[str, dict[str, str]]:
    """The name of a type with its scope, and the strings it accepts."""
    names = kind.split('.') if isinstance(kind, str) else ['']
    library, name = names[0] if len(names) > 1 else '', names[-1]
    if name not in TYPES or library not in ('', *LIBRARIES, *LAYERS):
        raise NotAllowed(_shown(path, kind))
    bare = library in ('', *LAYERS)
    return name if bare else f'{library}.{name}', TYPES[name]


def allowed_scope(scope: object, path: str) -> str:
    """Check that a scope is one of OpenMMLab's libraries."""
    if isinstance(scope, str) and scope in LIBRARIES:
        return scope
    raise NotAllowed(_shown(path, scope))


def allowed_dataset(dataset: dict, path: str) -> dict:
    """Copy the parts of a data set that prediction needs."""
    return dict(_facts(dataset), pipeline=allowed_steps(
        dataset.get('pipeline') or [], f'{path}.pipeline'))


def allowed_steps(steps: object, path: str) -> list[dict]:
    """The transforms of a pipeline, see :func:`allowed`."""
    if not isinstance(steps, (list, tuple)) or not all(
            isinstance(step, dict) and 'type' in step for step in steps):
        raise NotAllowed(_shown(path, steps))
    return [cast(dict, allowed(step, f'{path}[{index}]'))
            for index, step in enumerate(steps)]


def _facts(dataset: dict) -> Iterator[tuple[str, object]]:
    kind = dataset.get('type')
    if isinstance(kind, str) and kind.split('.')[-1] in DATASETS:
        yield 'type', kind.split('.')[-1]
    info = dataset.get('metainfo')
    if isinstance(info, dict):
        # For pictures and pages; nothing is built from them.
        yield 'metainfo', {key: info[key] for key in ('classes', 'palette')
                           if key in info}


def _shown(path: str, value: object) -> str:
    where = path if path.isprintable() else ascii(path)
    return f'{_cut(where)}={_cut(repr(value))}'


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f'{text[:LONGEST - 3]}...'
