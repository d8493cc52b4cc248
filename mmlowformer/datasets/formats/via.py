"""VGG Image Annotator 2 (and 1): a JSON file for many images."""
import math

from ...errors import UserError, shown, some_of
from .annotations import Annotation, Annotations, number
from .csv_boxes import LABEL
from .files import ReadErrors, annotation_files, read_json
from .image_folder import ImageFolder
from .shapes import Part, ellipse, join_parts, polygon_of

LEFT_OUT = ('point', 'polyline', 'line')


def read_via(source: str, images: ImageFolder, errors: ReadErrors, *,
             attribute: str | None = None, **_) -> tuple[Annotations, None]:
    """Read a project or exported annotations; an attribute is the class."""
    records = []
    for file, stem in annotation_files(source, '.json', errors):
        with errors.collect('file that is not of VIA 2', str(file), OSError,
                            RecursionError):
            records += [(f'{file}, {shown(key, 60)}', stem, record)
                        for key, record in _records(read_json(file))]
    attribute = attribute or _class_attribute(source, [
        region for *_, record in records for region in record['regions']])
    annotations: Annotations = {}
    for where, stem, record in records:
        name = images.find(
            images.beside(record['filename'], stem.parent.as_posix()), errors,
            where)
        if not name:
            continue
        if name in annotations:
            errors.add('image with a second record', f'{name} ({where})')
        annotations[name] = _objects(record['regions'], attribute, where,
                                     errors)
    return annotations, None


def _records(content: object) -> list[tuple[str, dict]]:
    if isinstance(content, dict) and 'metadata' in content \
            and 'project' in content:
        raise ValueError('it is a project of VIA 3, which is not read: export '
                         "it in COCO's format")
    if isinstance(content, dict):
        content = content.get('_via_img_metadata', content)
    if not isinstance(content, dict):
        raise ValueError('it holds no object of images')
    found = []
    for key, record in content.items():
        regions = record.get('regions') if isinstance(record, dict) else None
        # VIA 1 numbers the regions.
        if isinstance(regions, dict):
            regions = list(regions.values())
        if not isinstance(regions, list) or not isinstance(
                record.get('filename'), str):
            raise ValueError(f'{shown(key, 60)} has no filename and regions')
        found.append((key, dict(record, regions=regions)))
    return found


def _attributes(region: object, key: str = 'region_attributes') -> dict:
    found = region.get(key) if isinstance(region, dict) else None
    return found if isinstance(found, dict) else {}


def _class_attribute(source: str, regions: list) -> str:
    known = list(dict.fromkeys(
        name for region in regions for name in _attributes(region)))
    named = [name for name in known if name.lower() in (*LABEL, 'type')]
    if len(known) > 1 and len(named) != 1:
        raise UserError(f'{source} has regions with several attributes: name '
                        'the one that is the class with --label-attribute: '
                        f'{some_of(known)}')
    return (named or known or [''])[0]


def _objects(regions: list, attribute: str, where: str, errors: ReadErrors
             ) -> list[Annotation]:
    found = []
    for index, region in enumerate(regions, 1):
        place = f'{where}, region {index}'
        shape = _attributes(region, 'shape_attributes')
        with errors.collect('shape without an area', place):
            label = _label(_attributes(region).get(attribute))
            kind = shape.get('name')
            if kind in LEFT_OUT:
                errors.notes.add(f'shape that is a {kind}, left out', place)
            elif kind == 'rect':
                left, top, width, height = _numbers(
                    shape, 'x', 'y', 'width', 'height')
                found.append(Annotation(
                    label, (left, top, left + width, top + height),
                    where=place))
            else:
                found += join_parts([Part(label, [_polygon(shape)], place)])
    return found


def _label(value: object) -> str:
    # A checkbox is an object of the marked options.
    if isinstance(value, dict):
        marked = [name for name, is_set in value.items() if is_set]
        if len(marked) > 1:
            raise ValueError(f'it has several classes: {some_of(marked)}')
        value = marked[0] if marked else ''
    if value is not None and not isinstance(value, str):
        raise ValueError(f'its class is {shown(repr(value), 60)}')
    return (value or '').strip()


def _polygon(shape: dict) -> list[float]:
    kind = shape.get('name')
    if kind == 'polygon':
        xs, ys = shape.get('all_points_x'), shape.get('all_points_y')
        if not (isinstance(xs, list) and isinstance(ys, list)
                and len(xs) == len(ys)):
            raise ValueError('its points are not two lists of one length')
        return polygon_of(list(zip(xs, ys)))
    if kind == 'circle':
        x, y, radius = _numbers(shape, 'cx', 'cy', 'r')
        return ellipse(x, y, radius, radius)
    if kind == 'ellipse':
        x, y, radius_x, radius_y = _numbers(shape, 'cx', 'cy', 'rx', 'ry')
        # In radians, of VIA 2.0.8 and later.
        theta = number(shape.get('theta', 0))
        return ellipse(x, y, radius_x, radius_y, math.degrees(theta))
    raise ValueError(f'its shape is {shown(repr(kind), 60)}')


def _numbers(shape: dict, *keys: str) -> list[float]:
    return [number(shape.get(key)) for key in keys]
