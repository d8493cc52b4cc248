"""LabelMe: a JSON file for each image, mostly of polygons."""
import json
import math
from pathlib import Path

from ...errors import AnnotationErrors, shown
from .annotations import (
    Annotation,
    Annotations,
    annotation_files,
    box_around,
    check_same_image,
    number,
)
from .image_folder import ImageFolder

# Corners of the polygon that replaces a circle.
CORNERS = 64


def read_labelme(source: str, images: ImageFolder, errors: AnnotationErrors,
                 **_) -> tuple[Annotations, None]:
    """Read polygons, rectangles and circles of LabelMe's JSON files."""
    annotations: Annotations = {}
    for file, stem in annotation_files(source, '.json'):
        content = _read(file, errors)
        name = content and images.find(
            images.beside(content['imagePath'], stem.parent.as_posix()),
            errors, str(file))
        if not content or not name:
            continue
        check_same_image(name, images.find(stem.as_posix()), file, errors)
        if name in annotations:
            errors.add('image with a second file', f'{name} ({file})')
        said = content.get('imageWidth'), content.get('imageHeight')
        if all(said):
            images.check_size(said, name, str(file), errors)
        annotations[name] = _objects(content['shapes'], file, errors)
    return annotations, None


def _read(file: Path, errors: AnnotationErrors) -> dict | None:
    with errors.collect('file that is not of LabelMe', str(file), OSError,
                        RecursionError):
        content = json.loads(file.read_text(encoding='utf-8'))
        if not (isinstance(content, dict)
                and isinstance(content.get('shapes'), list)
                and isinstance(content.get('imagePath'), str)):
            raise ValueError('it needs a list shapes and a text imagePath')
        return content
    return None


def _objects(shapes: list, file: Path, errors: AnnotationErrors
             ) -> list[Annotation]:
    parts: dict[tuple, list] = {}
    places: dict[tuple, str] = {}
    for index, shape in enumerate(shapes, 1):
        where = f'{file}, shape {index}'
        with errors.collect('shape without an area', where):
            if not isinstance(shape, dict):
                raise ValueError(f'{shown(repr(shape), 60)} is not an object')
            label, group = shape.get('label') or '', shape.get('group_id')
            if not isinstance(label, str):
                raise ValueError(f'its label is {shown(repr(label), 60)}')
            # Shapes of a class that share a group are parts of an object.
            key = (label.strip(), *((None, index) if group is None else
                                    (shown(group), )))
            polygon = _polygon(shape)
            parts.setdefault(key, []).append(polygon)
            places.setdefault(key, where)
    return [Annotation(key[0], box_around(polygons), polygons,
                       where=places[key]) for key, polygons in parts.items()]


def _polygon(shape: dict) -> list[float]:
    kind = shape.get('shape_type') or 'polygon'
    points = shape.get('points')
    if not isinstance(points, list) or not all(
            isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError('its points are not a list of pairs')
    points = [(number(x), number(y)) for x, y in points]
    if kind == 'rectangle' and len(points) == 2:
        (x1, y1), (x2, y2) = points
        points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    elif kind == 'circle' and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        angles = [2 * math.pi * step / CORNERS for step in range(CORNERS)]
        points = [(x + radius * math.cos(angle), y + radius * math.sin(angle))
                  for angle in angles]
    elif kind not in ('polygon', 'rectangle'):
        raise ValueError(f'its shape_type is {shown(repr(kind), 60)}')
    if len(points) < 3:
        raise ValueError(f'it has {len(points)} points')
    return [value for point in points for value in point]
