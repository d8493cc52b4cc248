"""LabelMe: a JSON file for each image, mostly of polygons."""
import base64
import math
from pathlib import Path

from ...errors import AnnotationErrors, shown
from .annotations import Annotation, Annotations, check_same_image, number
from .files import ReadErrors, annotation_files, read_json
from .image_folder import ImageFolder
from .shapes import (
    ORIENTED,
    Part,
    around_mask,
    ellipse,
    is_upright,
    join_parts,
    mask_from_png,
    polygon_of,
    rectangle,
)

LEFT_OUT = ('point', 'points', 'line', 'linestrip')


def read_labelme(source: str, images: ImageFolder, errors: ReadErrors,
                 **_) -> tuple[Annotations, None]:
    """Read the shapes with an area of LabelMe's JSON files."""
    annotations: Annotations = {}
    for file, stem in annotation_files(source, '.json', errors):
        content = _read(file, errors)
        name = content and images.find(
            images.beside(content['imagePath'], stem.parent.as_posix()),
            errors, str(file))
        size = name and images.size(name)
        if not content or not name or not size:
            continue
        check_same_image(name, images.find(stem.as_posix()), file, errors)
        if name in annotations:
            errors.add('image with a second file', f'{name} ({file})')
        said = content.get('imageWidth'), content.get('imageHeight')
        if all(said):
            images.check_size(said, name, str(file), errors)
        annotations[name] = _objects(content['shapes'], size, file, errors)
    return annotations, None


def _read(file: Path, errors: AnnotationErrors) -> dict | None:
    with errors.collect('file that is not of LabelMe', str(file), OSError,
                        RecursionError):
        content = read_json(file)
        if not (isinstance(content, dict)
                and isinstance(content.get('shapes'), list)
                and isinstance(content.get('imagePath'), str)):
            raise ValueError('it needs a list shapes and a text imagePath')
        return content
    return None


def _objects(shapes: list, size: tuple[int, int], file: Path,
             errors: ReadErrors) -> list[Annotation]:
    parts = []
    for index, shape in enumerate(shapes, 1):
        where = f'{file}, shape {index}'
        with errors.collect('shape without an area', where):
            if not isinstance(shape, dict):
                raise ValueError(f'{shown(repr(shape), 60)} is not an object')
            label, group = shape.get('label') or '', shape.get('group_id')
            if not isinstance(label, str):
                raise ValueError(f'its label is {shown(repr(label), 60)}')
            kind = shape.get('shape_type') or 'polygon'
            if kind in LEFT_OUT:
                errors.notes.add(f'shape that is a {kind}, left out', where)
                continue
            polygons = _polygons(kind, shape, size)
            if kind == 'rotation' and not is_upright(polygons[0]):
                errors.notes.add(ORIENTED, where)
            parts.append(Part(label.strip(), polygons, where,
                              None if group is None else shown(group)))
    return join_parts(parts)


def _polygons(kind: object, shape: dict, size: tuple[int, int]
              ) -> list[list[float]]:
    points = shape.get('points')
    if kind in ('polygon', 'rotation'):
        return [polygon_of(points)]
    if not isinstance(points, list) or not all(
            isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError('its points are not a list of pairs')
    if kind == 'rectangle' and len(points) != 2:
        return [polygon_of(points)]
    if kind not in ('rectangle', 'circle', 'mask'):
        raise ValueError(f'its shape_type is {shown(repr(kind), 60)}')
    if len(points) != 2:
        raise ValueError(f'it has {len(points)} points')
    (x1, y1), (x2, y2) = ((number(x), number(y)) for x, y in points)
    if kind == 'rectangle':
        return [rectangle(x1, y1, x2, y2)]
    if kind == 'circle':
        radius = math.dist((x1, y1), (x2, y2))
        return [ellipse(x1, y1, radius, radius)]
    text = shape.get('mask')
    if not isinstance(text, str):
        raise ValueError('its mask is missing')
    mask = mask_from_png(base64.b64decode(text), size)
    return around_mask(mask, min(x1, x2), min(y1, y2))
