"""Supervisely: folders img and ann, with a JSON file for each image."""
import base64
import zlib
from pathlib import Path

from ...errors import shown
from .annotations import Annotation, Annotations, number
from .files import ReadErrors, annotation_files, read_json
from .image_folder import ImageFolder
from .shapes import Part, around_mask, join_parts, mask_from_png, polygon_of

# Beside the folders of a project.
OTHERS = ('meta.json', 'obj_class_to_machine_color.json')
LEFT_OUT = ('point', 'line', 'polyline', 'graph', 'cuboid', 'any')
# Bytes of an unpacked mask.
LARGEST_MASK = 2**28


def read_supervisely(source: str, images: ImageFolder, errors: ReadErrors, **_
                     ) -> tuple[Annotations, None]:
    """Read boxes, polygons and bitmaps."""
    annotations: Annotations = {}
    for file, stem in annotation_files(source, '.json', errors):
        if file.name in OTHERS:
            continue
        content = _read(file, errors)
        called = '/'.join('img' if part == 'ann' else part
                          for part in stem.parts)
        name = content and images.find(called, errors, str(file))
        size = name and images.size(name)
        if not content or not name or not size:
            continue
        if name in annotations:
            errors.add('image with a second file', f'{name} ({file})')
        said = content['size'].get('width'), content['size'].get('height')
        images.check_size(said, name, str(file), errors)
        annotations[name] = _objects(content['objects'], size, file, errors)
    return annotations, None


def _read(file: Path, errors: ReadErrors) -> dict | None:
    with errors.collect('file that is not of Supervisely', str(file), OSError,
                        RecursionError):
        content = read_json(file)
        if not (isinstance(content, dict)
                and isinstance(content.get('objects'), list)
                and isinstance(content.get('size'), dict)):
            raise ValueError('it needs a list objects and a size')
        return content
    return None


def _objects(records: list, size: tuple[int, int], file: Path,
             errors: ReadErrors) -> list[Annotation]:
    found = []
    for index, record in enumerate(records, 1):
        where = f'{file}, object {index}'
        with errors.collect('shape without an area', where):
            if not isinstance(record, dict):
                raise ValueError(f'{shown(repr(record), 60)} is not an object')
            label, kind = record.get('classTitle'), record.get('geometryType')
            if not isinstance(label, str):
                raise ValueError(f'its classTitle is {shown(repr(label), 60)}')
            if kind in LEFT_OUT:
                errors.notes.add(f'shape that is a {kind}, left out', where)
            elif kind == 'rectangle':
                found.append(_box(_points(record), label.strip(), where))
            else:
                found += join_parts([Part(
                    label.strip(), _polygons(record, size, where, errors),
                    where)])
    return found


def _points(record: dict, key: str = 'exterior') -> list:
    points = record.get('points')
    found = points.get(key) if isinstance(points, dict) else None
    if not isinstance(found, list):
        raise ValueError(f'its points have no {key}')
    return found


def _box(points: list, label: str, where: str) -> Annotation:
    if len(points) != 2 or not all(
            isinstance(point, list) and len(point) == 2 for point in points):
        raise ValueError('it needs two corners')
    (x1, y1), (x2, y2) = ((number(x), number(y)) for x, y in points)
    return Annotation(label, (min(x1, x2), min(y1, y2), max(x1, x2),
                              max(y1, y2)), where=where)


def _polygons(record: dict, size: tuple[int, int], where: str,
              errors: ReadErrors) -> list[list[float]]:
    kind = record.get('geometryType')
    if kind == 'polygon':
        if _points(record, 'interior'):
            errors.notes.add('hole of a polygon, filled', where)
        return [polygon_of(_points(record))]
    bitmap = record.get('bitmap')
    if kind != 'bitmap' or not isinstance(bitmap, dict):
        raise ValueError(f'its geometryType is {shown(repr(kind), 60)}')
    data, origin = bitmap.get('data'), bitmap.get('origin')
    if not isinstance(data, str) or not isinstance(origin, list) \
            or len(origin) != 2:
        raise ValueError('its bitmap needs data and an origin')
    try:
        png = zlib.decompressobj().decompress(base64.b64decode(data),
                                              LARGEST_MASK)
    except zlib.error as error:
        raise ValueError('its bitmap cannot be read') from error
    return around_mask(mask_from_png(png, size), *map(number, origin))
