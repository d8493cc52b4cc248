"""Formats with a file for each image: LabelMe, Pascal VOC, YOLO."""
import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from xml.etree import ElementTree

import yaml

from ..annotations import AnnotatedImage, Annotation
from ..yolo import CLASS_FILES
from .label_set import (
    LabelSet,
    check_xml,
    child,
    largest_polygon,
    points_of,
)


def write_labelme(labels: LabelSet) -> None:
    """LabelMe: rectangles and polygons, with relative paths of the images."""
    for image, name in _named(labels, '.json'):
        beside = os.path.dirname(labels.target / name)
        path = os.path.relpath(labels.root / image.name, beside)
        _write(labels.folder / name, json.dumps(dict(
            version='5.5.0', flags={}, shapes=list(_shapes(image)),
            imagePath=path.replace(os.sep, '/'), imageData=None,
            imageHeight=image.height, imageWidth=image.width), indent=2))


def _shapes(image: AnnotatedImage) -> Iterator[dict]:
    for number, item in enumerate(image.annotations, 1):
        parts = item.segmentation if isinstance(item.segmentation, list) \
            else [list(item.box)]
        for part in parts:
            yield dict(
                label=item.label, points=points_of(part),
                group_id=number if len(parts) > 1 else None, description='',
                shape_type='polygon' if item.segmentation else 'rectangle',
                flags={}, mask=None)


def write_voc(labels: LabelSet) -> None:
    """Pascal VOC: boxes in whole pixels, counted from 1."""
    for image, name in _named(labels, '.xml'):
        folder, base = os.path.split(check_xml(image.name))
        root = ElementTree.Element('annotation')
        child(root, 'folder', folder)
        child(root, 'filename', base)
        size = child(root, 'size')
        for key, value in (('width', image.width), ('height', image.height),
                           ('depth', 3)):
            child(size, key, value)
        child(root, 'segmented', 0)
        for item in image.annotations:
            node = child(root, 'object')
            child(node, 'name', check_xml(item.label))
            for key, text in (('pose', 'Unspecified'), ('truncated', 0),
                              ('difficult', 0)):
                child(node, key, text)
            box = child(node, 'bndbox')
            for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'),
                                  _pixels(item)):
                child(box, key, value)
        ElementTree.indent(root)
        _write(labels.folder / name,
               ElementTree.tostring(root, 'unicode') + '\n')


def _pixels(item: Annotation) -> list[int]:
    """First and last pixel of a box, which has at least one."""
    left, top, right, bottom = map(round, item.box)
    return [left + 1, top + 1, max(right, left + 1), max(bottom, top + 1)]


def write_yolo(labels: LabelSet) -> None:
    """YOLO: boxes or, of instance masks, the largest polygon."""
    _write(labels.folder / 'data.yaml', yaml.safe_dump(
        dict(names=dict(enumerate(labels.classes))), allow_unicode=True,
        sort_keys=False))
    _write(labels.folder / 'classes.txt',
           ''.join(f'{name}\n' for name in labels.classes))
    numbers = {name: index for index, name in enumerate(labels.classes)}
    for image, name in _named(labels, '.txt', CLASS_FILES):
        _write(labels.folder / name, ''.join(
            ' '.join([str(numbers[item.label]), *(
                f'{value:.6f}' for value in _fractions(item, image))]) + '\n'
            for item in image.annotations))


def _fractions(item: Annotation, image: AnnotatedImage) -> list[float]:
    left, top, right, bottom = item.box
    values = largest_polygon(item) or [
        (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    return [value / (image.height if index % 2 else image.width)
            for index, value in enumerate(values)]


def _named(labels: LabelSet, suffix: str, reserved: tuple[str, ...] = ()
           ) -> Iterator[tuple[AnnotatedImage, str]]:
    """Images and their files: a.jpg.txt if there is a.png, too."""
    stems = Counter(_stem(name).lower() for name in labels.names)
    taken: set[str] = set()
    for image in labels.images:
        stem = _stem(image.name)
        free = [stem] if stems[stem.lower()] == 1 else []
        names = (f'{name}{suffix}' for name in chain(
            free, [image.name],
            (f'{image.name}-{number}' for number in count(2))))
        name = next(name for name in names if name.lower() not in taken
                    and os.path.basename(name).lower() not in reserved)
        taken.add(name.lower())
        yield image, name


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding='utf-8')
