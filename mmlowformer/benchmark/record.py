"""Files of measurements."""
import csv
import io
import json
from pathlib import Path
from typing import Any

from ..errors import UserError, first_line
from ..utils import files

SCHEMA = 2
# Differences that do not affect a comparison.
HARMLESS = ('commit', 'packages.mmdet', 'packages.mmsegmentation')
# Differences to the process that began a measurement.
MAY_DIFFER = (*HARMLESS, 'platform')


def rounded(content: Any) -> Any:
    """Plain values for a file: lists, and numbers of seven digits."""
    return json.loads(json.dumps(content),
                      parse_float=lambda digits: float(f'{float(digits):.7g}'))


def as_json(content: dict) -> str:
    """JSON with one row per line, for readable diffs."""
    return _json_lines(rounded(content)) + '\n'


def _json_lines(value: Any, indent: str = '') -> str:
    if not _has_rows(value):
        return json.dumps(value)
    inside = f'{indent} '
    if isinstance(value, dict):
        items = [f'{json.dumps(key)}: {_json_lines(item, inside)}'
                 for key, item in value.items()]
    else:
        items = [_json_lines(item, inside) for item in value]
    first, last = '{}' if isinstance(value, dict) else '[]'
    lines = f',\n{inside}'.join(items)
    return f'{first}\n{inside}{lines}\n{indent}{last}'


def _has_rows(value: Any) -> bool:
    """Whether a value contains a list of dicts."""
    if isinstance(value, dict):
        return any(map(_has_rows, value.values()))
    return isinstance(value, list) and any(
        isinstance(item, dict) or _has_rows(item) for item in value)


def as_csv(record: dict) -> str:
    """CSV with a line for each model; nested values have columns."""
    rows = [flatten(row) for row in record['rows']]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def flatten(value: dict, prefix: str = '') -> dict:
    """Flatten nested dicts into keys with dots."""
    flattened = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flattened.update(flatten(item, f'{prefix}{key}.'))
        else:
            flattened[prefix + key] = ' '.join(map(str, item)) if isinstance(
                item, list) else item
    return flattened


def read(path: str | Path) -> dict:
    """Read the JSON file of a measurement."""
    try:
        record = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} cannot be read: {first_line(error)}') \
            from error
    if not isinstance(record, dict) or record.get('schema') != SCHEMA:
        raise UserError(f'{path} is not a measurement of this version')
    return record


def check_same_settings(path: Path, option: str, known: dict,
                        fresh: dict) -> None:
    """Refuse to continue the measurement of a file with other settings."""
    old, new = ({key: value for key, value in flatten(settings).items()
                 if key not in MAY_DIFFER}
                for settings in (known, rounded(fresh)))
    files.check_same_settings(f'{path} was measured', old, new,
                              f'name another {option}, or delete it')
