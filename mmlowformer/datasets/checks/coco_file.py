"""Reading COCO's annotation files."""
import gc
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module

from ...errors import UserError, first_line, is_printable, shown
from ...utils.allocator import without_garbage_collection
from ..paths import check_distinct, check_regular

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
        _PARSED.reset(token)
        gc.unfreeze()


def read_to_load(path: str) -> dict:
    """Read an annotation file that MMDetection is going to load."""
    parsed = _PARSED.get()
    if parsed is None or not os.path.isfile(path):
        return read_coco(path)
    key = _state(path)
    if key not in parsed:
        parsed[key] = _parse(path)
        # Until it is loaded, no collection looks at its millions of objects.
        gc.freeze()
        import_module('.coco_api', __package__).use_parsed()
    return parts_of(parsed[key], path)


def take_parsed(path: str) -> object | None:
    """The content of a file that was read to be loaded, only once."""
    parsed = _PARSED.get() or {}
    content = parsed.pop(_state(path), None)
    if not parsed:
        gc.unfreeze()
    return content


def _state(path: str) -> tuple:
    info = os.stat(path)
    return (os.path.realpath(path), info.st_size, info.st_mtime_ns,
            info.st_ctime_ns)


def read_coco(path: str) -> dict:
    """Read an annotation file, see :func:`parts_of`."""
    check_regular(path)
    return parts_of(_parse(path), path)


def _parse(path: str) -> object:
    try:
        with (open(path, encoding='utf-8') as file,
              without_garbage_collection()):
            return json.load(file)
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
    names = [_text(item, 'name', 'categories') for item in categories]
    files = [_text(item, 'file_name', 'images') for item in images]
    ids = [_id(item, 'categories') for item in categories]
    for image in images:
        _id(image, 'images')
    if len(set(ids)) < len(ids):
        twice = next(key for key, count in Counter(ids).items() if count > 1)
        shared = [shown(repr(name), 60) for key, name in zip(ids, names)
                  if key == twice]
        raise UserError(f'{path} has two categories with the id {twice}: '
                        f'{" and ".join(shared[:2])}. Renumber them, in the '
                        'annotations, too')
    check_distinct(names, path)
    return dict(categories=names, images=files, category_ids=ids,
                image_records=images, annotations=annotations)


def _records(items: object, key: str) -> list[dict]:
    if not isinstance(items, list):
        raise ValueError(f'{key} is not a list')
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise ValueError(f'{key}[{index}] is not an object: '
                             + shown(json.dumps(item)))
    return items


def _text(record: dict, key: str, where: str) -> str:
    text = _entry(record, key, where)
    if not isinstance(text, str) or not text.strip() \
            or not is_printable(text):
        raise ValueError(f'{key} is not printable text: '
                         + shown(json.dumps(text)))
    return text


def _id(record: dict, where: str) -> int | str:
    value = _entry(record, 'id', where)
    if type(value) not in (int, str):
        raise ValueError(f'id of {where} is {shown(json.dumps(value))}, it '
                         'must be an integer')
    return value


def _entry(record: dict, key: str, where: str):
    if key not in record:
        raise ValueError(f'one of {where} has no {key}: {shown(record, 80)}')
    return record[key]
