"""Formats with one file for all images: COCO, CVAT, Label Studio."""
import json
import shutil
from collections.abc import Iterator
from itertools import count
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import quote
from xml.etree import ElementTree

from ..annotations import AnnotatedImage, Annotation, area_of
from .label_set import (
    LabelSet,
    check_xml,
    child,
    largest_polygon,
    points_of,
)

# Of COCO's and CVAT's annotations, and the tasks of Label Studio.
COCO, CVAT, TASKS = 'annotations.json', 'annotations.xml', 'tasks.json'
# The labels that a project of Label Studio needs.
LABEL_CONFIG = 'label_config.xml'


class _List:
    """Writes the items of a JSON list one by one."""

    def __init__(self, file: IO[str]):
        self._file, self._separator = file, ''

    def add(self, item: dict) -> None:
        self._file.write(f'{self._separator}{json.dumps(item)}')
        self._separator = ',\n'


def write_coco(labels: LabelSet) -> None:
    """COCO: boxes and polygons, with scores."""
    category_ids = {name: index for index, name in enumerate(labels.classes,
                                                             1)}
    numbers = count(1)
    with (open(labels.folder / COCO, 'x', encoding='utf-8') as file,
          TemporaryFile('w+', encoding='utf-8') as later):
        file.write('{"images": [')
        images, annotations = _List(file), _List(later)
        for index, image in enumerate(labels.images, 1):
            images.add(dict(id=image.extra.get('id', index),
                            file_name=image.name, width=image.width,
                            height=image.height))
            for item, score in _scored(image):
                left, top, right, bottom = item.box
                annotations.add(dict(
                    id=next(numbers), image_id=image.extra.get('id', index),
                    category_id=category_ids[item.label],
                    bbox=[left, top, right - left, bottom - top],
                    area=area_of(item), iscrowd=0,
                    segmentation=item.segmentation or [], score=score))
        later.seek(0)
        file.write('],\n"annotations": [')
        shutil.copyfileobj(later, file)
        categories = [dict(id=index, name=name)
                      for name, index in category_ids.items()]
        file.write(f'],\n"categories": {json.dumps(categories)}}}\n')


def write_cvat(labels: LabelSet) -> None:
    """CVAT for images 1.1: boxes and polygons."""
    meta = ElementTree.Element('meta')
    names = child(child(meta, 'task'), 'labels')
    for name in labels.classes:
        label = child(names, 'label')
        child(label, 'name', check_xml(name))
        child(label, 'attributes')
    with open(labels.folder / CVAT, 'x', encoding='utf-8') as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n'
                   f'<version>1.1</version>\n{_text(meta)}')
        for index, image in enumerate(labels.images):
            node = ElementTree.Element('image', dict(
                id=str(index), name=check_xml(image.name),
                width=str(image.width), height=str(image.height)))
            for number, item in enumerate(image.annotations, 1):
                _add_shapes(node, item, number)
            file.write(_text(node))
        file.write('</annotations>\n')


def _text(node: ElementTree.Element) -> str:
    ElementTree.indent(node)
    return ElementTree.tostring(node, 'unicode') + '\n'


def _add_shapes(node: ElementTree.Element, item: Annotation, number: int
                ) -> None:
    values = dict(label=item.label, source='auto', occluded='0', z_order='0')
    if not isinstance(item.segmentation, list):
        edges = zip(('xtl', 'ytl', 'xbr', 'ybr'), map(_decimal, item.box))
        ElementTree.SubElement(node, 'box', dict(values, **dict(edges)))
        return
    if len(item.segmentation) > 1:
        values['group_id'] = str(number)
    for polygon in item.segmentation:
        ElementTree.SubElement(node, 'polygon', dict(values, points=';'.join(
            ','.join(map(_decimal, point)) for point in points_of(polygon))))


def _decimal(value: float) -> str:
    return f'{value:.2f}'


def write_label_studio(labels: LabelSet) -> None:
    """Label Studio: tasks with predictions, and the labels of the project."""
    _write_label_config(labels)
    with open(labels.folder / TASKS, 'x', encoding='utf-8') as file:
        file.write('[')
        tasks = _List(file)
        for image in labels.images:
            scores = [score for _, score in _scored(image)]
            tasks.add(dict(
                # Relative to the folder that holds the folder of images.
                data=dict(image='/data/local-files/?d=' + quote(
                    f'{labels.root.name}/{image.name}',
                    errors='surrogateescape')),
                predictions=[dict(
                    model_version=labels.model,
                    score=sum(scores) / len(scores) if scores else 0.,
                    result=list(_regions(image)))]))
        file.write(']\n')


def _write_label_config(labels: LabelSet) -> None:
    view = ElementTree.Element('View')
    ElementTree.SubElement(view, 'Image', name='image', value='$image')
    for tag in ('RectangleLabels', 'PolygonLabels'):
        node = ElementTree.SubElement(view, tag, name=tag.lower(),
                                      toName='image')
        for name in labels.classes:
            ElementTree.SubElement(node, 'Label', value=check_xml(name))
    (labels.folder / LABEL_CONFIG).write_text(_text(view), encoding='utf-8')


def _regions(image: AnnotatedImage) -> Iterator[dict]:
    for number, (item, score) in enumerate(_scored(image), 1):
        left, top, right, bottom = item.box
        polygon = largest_polygon(item)
        kind = 'polygonlabels' if polygon else 'rectanglelabels'
        value: dict = dict(points=[
            _percent(point, image) for point in points_of(polygon)
        ]) if polygon else dict(
            zip(('x', 'y', 'width', 'height'), _percent(
                [left, top, right - left, bottom - top], image)), rotation=0)
        yield dict(
            id=str(number), type=kind, from_name=kind, to_name='image',
            original_width=image.width, original_height=image.height,
            image_rotation=0, score=score,
            value=dict(value, **{kind: [item.label]}))


def _percent(values: list[float], image: AnnotatedImage) -> list[float]:
    return [round(100 * value / (image.height if index % 2 else image.width),
                  6) for index, value in enumerate(values)]


def _scored(image: AnnotatedImage) -> Iterator[tuple[Annotation, float]]:
    return zip(image.annotations, image.extra.get('scores', ()), strict=True)
