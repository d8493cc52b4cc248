"""LabelMe: a JSON file for each image, mostly of polygons."""
import json
import math
from pathlib import Path

from ...errors import first_line, shown
from .annotations import (
    Picture,
    Shape,
    agreed,
    annotation_files,
    box_around,
    gathered,
    number,
)
from .image_folder import Faults, ImageFolder

# Corners that stand for a circle.
CORNERS = 64


def read_labelme(source: str, images: ImageFolder, faults: Faults, *,
                 labelled_only: bool = False, **_
                 ) -> tuple[list[Picture], None]:
    """Read LabelMe's JSON files.

    Polygons, rectangles and circles are taken; shapes of one class that share
    a ``group_id`` are parts of one object.
    """
    shapes: dict[str, list[Shape]] = {}
    for file in annotation_files(source, '.json'):
        try:
            content = json.loads(file.read_text(encoding='utf-8'))
            marked, named = map(content.get, ('shapes', 'imagePath')) \
                if isinstance(content, dict) else (None, None)
            if not isinstance(marked, list) or not isinstance(named, str):
                raise ValueError('shapes is no list, or imagePath no text')
        except (OSError, ValueError, RecursionError) as error:
            faults.add('file that is not of LabelMe',
                       f'{file}, {first_line(error)}')
            continue
        base = Path(source) if Path(source).is_dir() else file.parent
        stem = file.relative_to(base).with_suffix('')
        named = images.beside(named, stem.parent.as_posix())
        name = images.find(named, faults, str(file))
        if name is None:
            continue
        agreed(name, images.find(stem.as_posix(), Faults(), ''), file, faults)
        if name in shapes:
            faults.add('image with a second file', f'{name} ({file})')
        _check_size(content, file, name, images, faults)
        shapes[name] = _shapes(marked, file, faults)
    return gathered(shapes, images, faults, labelled_only=labelled_only), None


def _check_size(content: dict, file: Path, name: str, images: ImageFolder,
                faults: Faults) -> None:
    said = content.get('imageWidth'), content.get('imageHeight')
    size = images.size(name, Faults())
    if size and all(said) and said != size:
        faults.add('size that is not that of the image',
                   f'{file}: {shown(said[0], 20)}x{shown(said[1], 20)}, '
                   f'{name} has '
                   f'{size[0]}x{size[1]}')


def _shapes(marked: list, file: Path, faults: Faults) -> list[Shape]:
    parts: dict[tuple, list] = {}
    places: dict[tuple, str] = {}
    for index, item in enumerate(marked, 1):
        where = f'{file}, shape {index}'
        try:
            if not isinstance(item, dict):
                raise ValueError(f'it is no object: {shown(repr(item), 60)}')
            label = item.get('label') or ''
            if not isinstance(label, str):
                raise ValueError(f'its label is {shown(repr(label), 60)}')
            label = label.strip()
            polygon = _polygon(item)
        except ValueError as error:
            faults.add('shape that is no area', f'{where}, '
                       f'{first_line(error)}')
            continue
        group = item.get('group_id')
        group = group if group is None else shown(group)
        key = (label, group) if group is not None else (label, None, index)
        parts.setdefault(key, []).append(polygon)
        places.setdefault(key, where)
    return [Shape(key[0], box_around(polygons), polygons, where=places[key])
            for key, polygons in parts.items()]


def _polygon(item: dict) -> list[float]:
    kind = item.get('shape_type') or 'polygon'
    points = item.get('points')
    if not isinstance(points, list) or not all(
            isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError('its points are no list of pairs')
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
