"""The schema of ``model.json``, which may come from a stranger."""
import math
import re
from collections.abc import Callable
from reprlib import Repr
from typing import Any

# Takes a value and, for the message, its place.
Check = Callable[[Any, str], None]
# Suffix of the first file of each format; Core ML has a folder.
FORMATS = dict(onnx='.onnx', openvino='.xml', pt2='.pt2', ncnn='.param',
               executorch='.pte', tflite='.tflite', coreml='')
# Files that runtimes open together with the first.
COMPANIONS = dict(openvino='.bin', ncnn='.bin')
VERIFIED, FAILED, NOT_VERIFIED = (
    'verified', 'failed', 'converted, not verified')
SCOPES = ('mmdet', 'mmseg', 'mmpretrain', 'mmlowformer')
INTERPOLATIONS = dict(
    opencv=('nearest', 'bilinear', 'bicubic', 'area', 'lanczos'),
    pillow=('nearest', 'bilinear', 'bicubic', 'box', 'lanczos', 'hamming'))
SIDE, PIXELS = 2 ** 14, 2 ** 27
CLASSES, BOXES, CANDIDATES = 100_000, 10_000, 100_000

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def _wrong(value: object, where: str, needed: str) -> ValueError:
    return ValueError(f'{where} is {_SHORT.repr(value)}, but has to be '
                      f'{needed}')


def _rule(needed: str, holds: Callable[[Any], bool]) -> Check:
    def check(value: Any, where: str) -> None:
        if not holds(value):
            raise _wrong(value, where, needed)
    return check


def _one_of(*known: object) -> Check:
    # Types count, as True == 1 == 1.0.
    return _rule(' or '.join(map(repr, known)), lambda value: any(
        type(value) is type(item) and value == item for item in known))


def _text(most: int = 1000, least: int = 0) -> Check:
    return _rule(f'a text of {least} to {most} letters', lambda value: (
        isinstance(value, str) and least <= len(value) <= most))


def _number(least: float = -1e6, most: float = 1e6, kind=(int, float)
            ) -> Check:
    name = 'an integer' if kind is int else 'a number'
    return _rule(f'{name} from {least:g} to {most:g}', lambda value: (
        isinstance(value, kind) and not isinstance(value, bool)
        and least <= value <= most))


def _integer(least: int, most: int) -> Check:
    return _number(least, most, int)


def _list(item: Check, least: int = 0, most: int = CLASSES) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise _wrong(value, where, f'a list of {least} to {most} items')
        for index, part in enumerate(value):
            item(part, f'{where}[{index}]')
    return check


def _record(**items: Check) -> Check:
    """A record with exactly these keys."""
    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict) or value.keys() != items.keys():
            found = list(value) if isinstance(value, dict) else value
            raise _wrong(found, where or 'it', f'a record of {list(items)}')
        for key, item in items.items():
            item(value[key], f'{where}.{key}' if where else key)
    return check


def _mapping(item: Check) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict) or len(value) > CLASSES:
            raise _wrong(value, where, 'a record')
        for key, part in value.items():
            item(part, f'{where}.{key[:60]!r}')
    return check


def _any_of(*checks: Check) -> Check:
    """One of several checks; the error is that of the last one."""
    def check(value: Any, where: str) -> None:
        for item in checks[:-1]:
            try:
                return item(value, where)
            except ValueError:
                continue
        return checks[-1](value, where)
    return check


def _anything(value: Any, where: str) -> None:
    """For values that only people read, or that are checked elsewhere."""


def _is_file(name: Any) -> bool:
    """Whether it can be the name of a file in the folder."""
    return (isinstance(name, str) and 0 < len(name) <= 255
            and name.isprintable() and name != 'model.json'
            and not {'', '.', '..'} & set(name.split('/'))
            and not {'\\', ':'} & set(name))


def _step(value: Any, where: str) -> None:
    kind = value.get('step') if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in STEPS:
        raise _wrong(kind, f'{where}.step', ' or '.join(STEPS))
    STEPS[kind](value, where)
    if 'interpolation' in value:
        _one_of(*INTERPOLATIONS[value['library']])(
            value['interpolation'], f'{where}.interpolation')


_SIDE, _BOOL = _integer(1, SIDE), _one_of(False, True)
_FILE = _rule('the name of a file in the folder', _is_file)
_SHA256 = _rule('a sha256', lambda value: isinstance(value, str)
                and bool(re.fullmatch('[0-9a-f]{64}', value)))
_COLOR = _list(_integer(0, 255), 3, 3)
_THREE, _FOUR = (_list(_number(), count, count) for count in (3, 4))
_LIBRARY = _one_of(*INTERPOLATIONS)
_METHOD = dict(library=_LIBRARY, interpolation=_text(20))
STEPS = {kind: _record(step=_text(), **items) for kind, items in dict(
    read=dict(library=_LIBRARY),
    resize=dict(width=_SIDE, height=_SIDE, keep_ratio=_BOOL, **_METHOD),
    resize_by=dict(x=_number(1e-3, 1e3), y=_number(1e-3, 1e3),
                   keep_ratio=_BOOL, **_METHOD),
    resize_edge=dict(edge=_one_of('short', 'long', 'width', 'height'),
                     length=_SIDE, **_METHOD),
    resize_to_multiple=dict(x=_integer(1, 4096), y=_integer(1, 4096),
                            **_METHOD),
    center_crop=dict(width=_SIDE, height=_SIDE)).items()}
DECODING = dict(
    detection=_record(
        classes=_integer(1, CLASSES), score_thr=_number(-1, 1),
        max_dets=_integer(1, BOXES), nms_pre=_integer(1, CANDIDATES),
        iou_thr=_number(0, 1), min_size=_number(), clip=_BOOL, means=_FOUR,
        stds=_FOUR, max_log_ratio=_number(0, 100), levels=_list(_record(
            stride=_list(_integer(1, 4096), 2, 2),
            anchors=_list(_FOUR, 1, 1000)), 1, 16)),
    segmentation=_record(align_corners=_BOOL, threshold=_any_of(
        _one_of(None), _number(0, 1))),
    classification=_record(), features=_record())
TABLE = dict(
    schema=_anything, task=_one_of(*DECODING), model=_text(),
    format=_one_of(*FORMATS), files=_list(_FILE, 1, 1000),
    precision=_one_of('float32', 'float16', 'int8'),
    classes=_list(_text()), palette=_list(_COLOR),
    input=_record(
        name=_text(100, 1), layout=_one_of('NCHW'), dtype=_one_of('float32'),
        range=_list(_number(), 2, 2), channel_order=_one_of('RGB', 'BGR'),
        shape=_list(_any_of(_text(20, 1), _SIDE), 4, 4), least_size=_SIDE,
        mean=_THREE, std=_THREE),
    padding=_record(divisor=_integer(1, 4096), value=_number(),
                    by=_one_of('model', 'runtime')),
    prepare=_list(_step, 1, 32),
    outputs=_list(_record(name=_text(100, 1), shape=_list(_any_of(
        _text(40, 1), _integer(1, 2 ** 31)), 1, 8)), 1, 100),
    decoding=_anything,
    host=_any_of(_record(), _record(
        scope=_one_of(*SCOPES), pipeline=_text(100_000),
        score_thr=_number(-1, 1))),
    versions=_mapping(_text()),
    sha256=_mapping(_SHA256),
    verification=_any_of(_record(), _record(
        verdict=_one_of(VERIFIED, FAILED, NOT_VERIFIED), reason=_text(10_000),
        rows=_list(_anything), metrics=_anything, speed=_anything)))


def check(values: Any) -> None:
    """Make sure that all keys are known and all values in range."""
    _record(**TABLE)(values, '')
    DECODING[values['task']](values['decoding'], 'decoding')
    _check_files(values)
    _check_input(values)
    _check_outputs(values)
    if len(values['palette']) != len(values['classes']):
        raise ValueError(f'palette has {len(values["palette"])} colors for '
                         f'{len(values["classes"])} classes')


def _check_files(values: dict) -> None:
    files, form = values['files'], values['format']
    if not files[0].endswith(FORMATS[form]):
        raise _wrong(files[0], 'files[0]', f'a name with {FORMATS[form]}')
    needed = list(files)
    if form in COMPANIONS:
        stem = files[0].removesuffix(FORMATS[form])
        needed.append(stem + COMPANIONS[form])
    for name in needed:
        if name not in files:
            raise ValueError(f'files lacks {_SHORT.repr(name)}, which {form} '
                             'opens')
        if name not in values['sha256']:
            raise ValueError(f'sha256 lacks {_SHORT.repr(name)}')


def _check_input(values: dict) -> None:
    batch, channels, height, width = values['input']['shape']
    sizes = [side for side in (batch, height, width)
             if not isinstance(side, str)]
    if channels != 3 or isinstance(height, str) != isinstance(width, str) \
            or math.prod(sizes) > PIXELS:
        raise _wrong(values['input']['shape'], 'input.shape',
                     f'[batch, 3, height, width], {PIXELS} pixels at most')
    if values['input']['range'] != [0, 255]:
        raise _wrong(values['input']['range'], 'input.range', '[0, 255]')
    if min(values['input']['std']) <= 0:
        raise _wrong(values['input']['std'], 'input.std', 'positive')
    first, *others = (step['step'] for step in values['prepare'])
    if first != 'read' or 'read' in others:
        raise _wrong([first, *others], 'prepare', 'read, once and first')


def _check_outputs(values: dict) -> None:
    names = [item['name'] for item in values['outputs']]
    shapes = [item['shape'] for item in values['outputs']]
    levels = range(len(values['decoding'].get('levels', ())))
    known = dict(
        detection=[['boxes', 'scores', 'labels'],
                   [f'{kind}_{level}' for kind in ('scores', 'deltas')
                    for level in levels]],
        segmentation=[['logits']], classification=[['scores']],
        features=[list(dict.fromkeys(names))])[values['task']]
    if names not in known:
        raise _wrong(names, 'outputs', ' or '.join(map(repr, known)))
    ranks = dict(boxes=3, labels=2, logits=4, scores=2)
    for name, shape in zip(names, shapes):
        if len(shape) != ranks.get(name, 4):
            raise _wrong(shape, f'shape of {name}',
                         f'{ranks.get(name, 4)} sides')
    _check_classes(values, shapes[0][1])


def _check_classes(values: dict, channels: Any) -> None:
    """Make sure that each class has a name."""
    count, task = len(values['classes']), values['task']
    if task == 'features':
        return
    needed = (values['decoding']['classes'] if task == 'detection' else
              channels)
    if isinstance(needed, str) or needed > count:
        raise ValueError(f'classes has {count} names, but the model has '
                         f'{needed} classes')
    if task == 'segmentation' and needed == 1 and (
            values['decoding']['threshold'] is None):
        raise ValueError('decoding.threshold is needed for one channel')
