"""Reading COCO's annotation files."""
import json
from collections import Counter

from ...errors import UserError, first_line, is_printable, shown
from ..paths import check_regular, check_unlike


def read_coco(path: str) -> dict:
    """Read an annotation file."""
    check_regular(path)
    try:
        with open(path, encoding='utf-8') as file:
            return parts_of(json.load(file), path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} is no COCO annotation file, or a truncated '
                        f'one: {first_line(error)}') from error


def parts_of(content: object, path: str) -> dict:
    """The parts of what an annotation file holds."""
    if not isinstance(content, dict):
        raise ValueError('it holds no object with images, annotations and '
                         'categories')
    parts = {key: _records(content.get(key) or [], key)
             for key in ('images', 'categories', 'annotations')}
    names = [_text(item, 'name', 'categories')
             for item in parts['categories']]
    files = [_text(item, 'file_name', 'images') for item in parts['images']]
    ids = [_identity(item, 'id', 'categories')
           for item in parts['categories']]
    for image in parts['images']:
        _identity(image, 'id', 'images')
    if len(set(ids)) < len(ids):
        twice = next(key for key, count in Counter(ids).items() if count > 1)
        shared = [shown(repr(name), 60) for key, name in zip(ids, names)
                  if key == twice]
        raise UserError(f'{path} has two categories of the id {twice}: '
                        f'{" and ".join(shared[:2])}. Number them anew, the '
                        'annotations, too')
    check_unlike(names, path)
    return dict(categories=names, images=files, category_ids=ids,
                image_records=parts['images'],
                annotations=parts['annotations'])


def _records(items: object, key: str) -> list[dict]:
    if not isinstance(items, list):
        raise ValueError(f'{key} is no list')
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise ValueError(f'{key}[{index}] is no record: '
                             + shown(json.dumps(item)))
    return items


def _text(record: dict, key: str, where: str) -> str:
    text = _entry(record, key, where)
    if not isinstance(text, str) or not text.strip() \
            or not is_printable(text):
        raise ValueError(f'{key} is no text that can be printed: '
                         + shown(json.dumps(text)))
    return text


def _identity(record: dict, key: str, where: str) -> int | str:
    value = _entry(record, key, where)
    if type(value) not in (int, str):
        raise ValueError(f'{key} of {where} is {shown(json.dumps(value))}, it '
                         'has to be an integer')
    return value


def _entry(record: dict, key: str, where: str):
    if key not in record:
        raise ValueError(f'{where} have one without {key}: '
                         f'{shown(record, 80)}')
    return record[key]
