"""CVAT for images 1.1: an XML file for many images."""
from xml.etree import ElementTree

import numpy as np

from ...errors import shown
from .annotations import Annotation, Annotations, number
from .files import ReadErrors, annotation_files, read_xml
from .image_folder import ImageFolder
from .shapes import (
    ORIENTED,
    Part,
    around_mask,
    ellipse,
    join_parts,
    polygon_of,
    rectangle,
    rotated,
)

LEFT_OUT = ('points', 'polyline', 'cuboid', 'skeleton', 'tag')
EDGES = ('xtl', 'ytl', 'xbr', 'ybr')


def read_cvat(source: str, images: ImageFolder, errors: ReadErrors, **_
              ) -> tuple[Annotations, list[str] | None]:
    """Read boxes, polygons, ellipses and masks, and the order of classes."""
    annotations: Annotations = {}
    classes: dict[str, None] = {}
    for file, stem in annotation_files(source, '.xml', errors):
        root = read_xml(file, errors)
        if root is None:
            continue
        if root.tag != 'annotations' or root.find('track') is not None:
            errors.add("XML file that is not CVAT's (export as CVAT for "
                       'images 1.1)', f'{file}, of <{root.tag}>')
            continue
        classes.update(dict.fromkeys(
            (label.findtext('name') or '').strip()
            for label in root.iterfind('meta//labels/label')
            if label.find('parent') is None))
        for node in root.iterfind('image'):
            where = f'{file}, image {shown(node.get("id"), 40)}'
            folder = node.get('subset') or stem.parent.as_posix()
            name = images.find(images.beside(node.get('name') or '', folder),
                               errors, where)
            size = name and images.size(name)
            if not name or not size:
                continue
            if name in annotations:
                errors.add('image with a second record', f'{name} ({where})')
            with errors.collect('invalid width or height', where):
                images.check_size(tuple(
                    int(number(node.get(side))) for side in
                    ('width', 'height')), name, where, errors)
            annotations[name] = _objects(node, size, where, errors)
    return annotations, list(classes) or None


def _objects(image: ElementTree.Element, size: tuple[int, int], where: str,
             errors: ReadErrors) -> list[Annotation]:
    found, parts = [], []
    for index, node in enumerate(image, 1):
        place = f'{where}, shape {index}'
        label = (node.get('label') or '').strip()
        with errors.collect('shape without an area', place):
            if node.tag in LEFT_OUT:
                errors.notes.add(f'shape that is a {node.tag}, left out',
                                 place)
            elif node.tag == 'box':
                found.append(_box(node, label, place, errors))
            else:
                # CVAT writes 0 for no group.
                group = node.get('group_id')
                parts.append(Part(label, _polygons(node, size), place,
                                  None if group == '0' else group))
    return found + join_parts(parts)


def _box(node: ElementTree.Element, label: str, where: str,
         errors: ReadErrors) -> Annotation:
    left, top, right, bottom = (number(node.get(edge)) for edge in EDGES)
    degrees = number(node.get('rotation', '0'))
    if not degrees % 360:
        return Annotation(label, (left, top, right, bottom), where=where)
    errors.notes.add(ORIENTED, where)
    polygon = rotated(rectangle(left, top, right, bottom),
                      ((left + right) / 2, (top + bottom) / 2), degrees)
    return join_parts([Part(label, [polygon], where)])[0]


def _polygons(node: ElementTree.Element, size: tuple[int, int]
              ) -> list[list[float]]:
    if node.tag == 'polygon':
        return [polygon_of([point.split(',') for point in
                            (node.get('points') or '').split(';')])]
    if node.tag == 'ellipse':
        x, y, radius_x, radius_y, degrees = (
            number(node.get(key, '0' if key == 'rotation' else None))
            for key in ('cx', 'cy', 'rx', 'ry', 'rotation'))
        return [ellipse(x, y, radius_x, radius_y, degrees)]
    if node.tag != 'mask':
        raise ValueError(f'it is a {shown(repr(node.tag), 60)}')
    left, top, width, height = (
        int(number(node.get(key)))
        for key in ('left', 'top', 'width', 'height'))
    if not (0 < width <= size[0] and 0 < height <= size[1]):
        raise ValueError(f'its mask has {width}x{height} pixels')
    runs = [int(number(run)) for run in (node.get('rle') or '').split(',')]
    if min(runs) < 0 or sum(runs) != width * height:
        raise ValueError('the runs of its mask do not add up to '
                         f'{width}x{height}')
    values = np.arange(len(runs), dtype=np.uint8) % 2
    return around_mask(np.repeat(values, runs).reshape(height, width), left,
                       top)
