"""Reading COCO's annotation files."""
import json
from collections import Counter

from ...errors import UserError, first_line, is_printable, shown
from ..paths import check_distinct, check_regular


def read_coco(path: str) -> dict:
    """Read an annotation file, see :func:`parts_of`."""
    check_regular(path)
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} is not a COCO annotation file, or truncated: '
                        f'{first_line(error)}') from error
    return parts_of(content, path)


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
                image_records=images, annotations=annotations)


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
            raise ValueError(f'{where}: {key} is not {wanted}: '
                             + shown(json.dumps(value)))
    return [record[key] for record in records]
