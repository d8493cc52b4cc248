"""Read COCO's annotation files, and find errors in them."""
import gc
import json
import os
import posixpath
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, TypeGuard

from ...errors import UserError, first_line, is_printable, shown
from ...utils.allocator import without_garbage_collection
from ..paths import check_distinct, check_regular, has_parent_reference

# Coordinates and lengths are below so many pixels.
LARGEST = 1e9
# Tools that round, or count from 1, exceed an image by so many pixels.
ROUNDING = 1.0
# Kinds of findings.
BEYOND = 'box beyond its image'
NO_EXTENT = 'box without an area'
DUPLICATE_ID = 'duplicate annotation id'
ODD_ID = 'annotation whose id is not an integer'
# The boxes can be read nevertheless.
READABLE = {DUPLICATE_ID, ODD_ID}
ODD_CROWD = 'iscrowd that is neither 0 nor 1'
NO_SIZE = 'image without width and height'
BOM, MARK = 'byte order mark, which MMDetection cannot read', '\ufeff'
# Contents that MMDetection is going to load.
_PARSED: ContextVar[dict[tuple, object] | None] = ContextVar(
    'parsed', default=None)


@contextmanager
def parse_once() -> Iterator[None]:
    """Within it, MMDetection loads what :func:`read_to_load` has parsed."""
    token = _PARSED.set({})
    try:
        yield
    finally:
        forget_parsed()
        _PARSED.reset(token)


def forget_parsed() -> None:
    """Free what was parsed for data sets that load it in another way."""
    parsed = _PARSED.get()
    if parsed is not None:
        parsed.clear()
        gc.enable()


def read_to_load(path: str) -> dict:
    """Read an annotation file that MMDetection is going to load."""
    parsed = _PARSED.get()
    if parsed is None or not os.path.isfile(path):
        return read_coco(path)
    key = _state(path)
    if key not in parsed:
        parsed[key] = parse_coco(path)
        # Until it is loaded, no collection looks at its millions of objects.
        gc.disable()
        _hand_over()
    return parts_of(parsed[key], path)


def _hand_over() -> None:
    """Let MMDetection's data sets take what was parsed."""
    mmdet = import_module('mmdet.datasets')
    library: Any = import_module('mmdet.datasets.api_wrappers').COCO

    class ParsedCOCO(library):
        def __init__(self, annotation_file: str | None = None):
            content = annotation_file and _take(annotation_file)
            super().__init__(None if content else annotation_file)
            if content:
                self.dataset = content
                self.createIndex()
                self.img_ann_map = self.imgToAnns
                self.cat_img_map = self.catToImgs

    if mmdet.CocoDataset.COCOAPI is library:
        mmdet.CocoDataset.COCOAPI = ParsedCOCO


def _take(path: str) -> object | None:
    """The content of a file that was read to be loaded, only once."""
    return (_PARSED.get() or {}).pop(_state(path), None)


def _state(path: str) -> tuple:
    info = os.stat(path)
    return (os.path.realpath(path), info.st_size, info.st_mtime_ns,
            info.st_ctime_ns)


def read_coco(path: str) -> dict:
    """Read an annotation file, see :func:`parts_of`."""
    return parts_of(parse_coco(path), path)


def parse_coco(path: str) -> Any:
    """Parse an annotation file, whatever it holds."""
    check_regular(path)
    try:
        with (open(path, encoding='utf-8') as file,
              without_garbage_collection()):
            is_marked = file.read(1) == MARK
            if not is_marked:
                file.seek(0)
            content = json.load(file)
            if is_marked and isinstance(content, dict):
                content[MARK] = True  # parts_of() takes it away.
            return content
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} is not a COCO annotation file, or truncated: '
                        f'{first_line(error)}') from error


def parts_of(content: object, path: str) -> dict:
    """Names of categories and images, and all records, of COCO's content."""
    try:
        return _parts(content, path)
    except ValueError as error:
        raise UserError(f'{path} is not a COCO annotation file: {error}'
                        ) from error


def _parts(content: object, path: str) -> dict:
    if not isinstance(content, dict):
        raise ValueError('it holds no object with images, annotations and '
                         'categories')
    images, categories, annotations = (
        _records(content.get(key) or [], key)
        for key in ('images', 'categories', 'annotations'))
    names = _values(categories, 'categories', 'name')
    files = _values(images, 'images', 'file_name')
    ids = _values(categories, 'categories', 'id')
    _values(images, 'images', 'id')
    if len(set(ids)) < len(ids):
        twice = next(key for key, count in Counter(ids).items() if count > 1)
        shared = [shown(repr(name), 60) for key, name in zip(ids, names)
                  if key == twice]
        raise UserError(f'{path} has two categories with the id {twice}: '
                        f'{" and ".join(shared[:2])}. Renumber them, in the '
                        'annotations, too')
    check_distinct(names, path)
    return dict(categories=names, images=files, category_ids=ids,
                image_records=images, annotations=annotations,
                is_marked=content.pop(MARK, False))


def _records(items: object, key: str) -> list[dict]:
    if not isinstance(items, list):
        raise ValueError(f'{key} is not a list')
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise ValueError(f'{key}[{index}] is not an object: '
                             + shown(json.dumps(item)))
    return items


def _values(records: list[dict], where: str, key: str) -> list:
    """The value of an id or a name in each record."""
    for record in records:
        if key not in record:
            raise ValueError(f'one of {where} has no {key}: '
                             + shown(record, 80))
        value = record[key]
        if key == 'id':
            valid, wanted = type(value) in (int, str), 'an integer'
        else:
            valid = (isinstance(value, str) and bool(value.strip())
                     and is_printable(value))
            wanted = 'printable text'
        if not valid:
            raise ValueError(f'{key} of {where} is {shown(json.dumps(value))}'
                             f', it must be {wanted}')
    return [record[key] for record in records]


def find_errors(content: dict, *, masks: bool = True) -> Iterator[
        tuple[str, str]]:
    """Kinds and examples of errors that would silently change a training."""
    yield from _image_errors(content)
    yield from _box_errors(content)
    if masks:
        yield from segmentation_errors(content)


def _image_errors(content: dict) -> Iterator[tuple[str, str]]:
    seen, files = set(), set()
    for image in content['image_records']:
        name, identity = image['file_name'], image['id']
        if identity in seen:
            yield 'duplicate image id', f'{identity} ({name})'
        seen.add(identity)
        file = posixpath.normpath(name.replace('\\', '/'))
        if file in files:
            yield 'image with two ids', f'{name} (id {identity})'
        files.add(file)
        if has_parent_reference(name):
            yield 'image whose name contains ..', name
        if not all(is_number(image.get(key)) and image[key] > 0
                   for key in ('width', 'height')):
            yield NO_SIZE, name


def _box_errors(content: dict) -> Iterator[tuple[str, str]]:
    images = {image['id'] for image in content['image_records']}
    categories = set(content['category_ids'])
    seen = set()
    for annotation in content['annotations']:
        identity = annotation.get('id')
        name = f'annotation {shown(identity, 40)}'
        if not _refers(annotation.get('image_id'), images):
            yield ('annotation of an image that is not in the file',
                   f'{name}, image {shown(annotation.get("image_id"), 40)}')
        if not _refers(annotation.get('category_id'), categories):
            yield ('category id that is not in the file', f'{name}, category '
                   f'{shown(annotation.get("category_id"), 40)}')
        if identity is not None and type(identity) not in (int, str):
            yield ODD_ID, name
        elif identity is not None and identity in seen:
            yield DUPLICATE_ID, name
        else:
            seen.add(identity)
        if annotation.get('iscrowd') not in (None, 0, 1):
            yield ODD_CROWD, name
        if not box_of(annotation):
            yield ('box that is not four numbers x, y, width and height',
                   f'{name}, {shown(annotation.get("bbox"), 80)}')


def _refers(identity: object, known: Collection) -> bool:
    return type(identity) in (int, str) and identity in known


def box_of(annotation: dict) -> list[float]:
    """Left, top, width and height, empty if they cannot be read."""
    box = annotation.get('bbox')
    return box if (isinstance(box, list) and len(box) == 4
                   and all(map(is_number, box)) and min(box[2:]) >= 0) else []


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value can be a coordinate, or a length in pixels."""
    # Comparing is also safe for integers that are too large for a float.
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and -LARGEST < value < LARGEST)


def _are_numbers(values: list) -> bool:
    """What :func:`is_number` tells of each value, much faster."""
    # NaN stays in a sum.
    return (set(map(type, values)) <= {int, float}
            and min(values) > -LARGEST and max(values) < LARGEST
            and sum(values) < len(values) * LARGEST)


def segmentation_errors(content: dict) -> Iterator[tuple[str, str]]:
    """Kinds and examples of polygons and masks that cannot be read."""
    sizes = {image['id']: [image.get('height'), image.get('width')]
             for image in content['image_records']}
    for annotation in content['annotations']:
        value = annotation.get('segmentation')
        image = annotation.get('image_id')
        if value in (None, []) or not _refers(image, sizes.keys()):
            continue
        if problem := segmentation_problem(value, sizes[image]):
            yield (f'segmentation {problem}',
                   f'annotation {shown(annotation.get("id"), 40)}, '
                   f'{shown(value, 80)}')


def segmentation_problem(value: object, size: list) -> str | None:
    """What is wrong with a segmentation of an image of height and width."""
    return (_polygon_problem(value) if isinstance(value, list) else
            _rle_problem(value, size))


def _polygon_problem(polygons: list) -> str | None:
    for polygon in polygons:
        if not isinstance(polygon, list):
            return 'that is not a list of polygons, [[x1, y1, x2, y2, ...]]'
        if len(polygon) < 6 or len(polygon) % 2:
            return 'with a polygon of fewer than three points'
        if not _are_numbers(polygon):
            return 'with a polygon that is not made of numbers'
    return None


def _rle_problem(runs: object, size: list) -> str | None:
    if not isinstance(runs, dict):
        return 'that is neither polygons nor RLE'
    if runs.get('size') != size:
        return "whose RLE size is not the image's height and width"
    try:
        lengths = rle_counts(runs['counts'])
    except (KeyError, TypeError, ValueError):
        return 'whose RLE counts cannot be read'
    if sum(lengths) != size[0] * size[1]:
        return 'whose RLE counts do not add up to the pixels of the image'
    return None


def rle_counts(counts: list | str) -> list[int]:
    """Lengths of runs of pixels, column by column, outside and inside."""
    lengths = (_decompressed(counts) if isinstance(counts, str) else
               list(counts))
    if not all(type(length) is int and 0 <= length < LARGEST
               for length in lengths):
        raise ValueError('a run length is not a length')
    return lengths


def _decompressed(text: str) -> list[int]:
    """Six bits a letter, the lowest first; from the third, differences."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text.encode('ascii'):
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError('not a letter of RLE counts')
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError('the last run length is cut off')
    return lengths
