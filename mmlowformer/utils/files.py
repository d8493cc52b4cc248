"""New files and folders: whole or not at all, and nothing is overwritten."""
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError, first_line


def check_new(*paths: str | Path) -> None:
    """Make sure that outputs are not there yet."""
    for path in paths:
        if os.path.lexists(path):
            raise UserError(f'{path} is there already: name another, or '
                            'delete it')


def check_new_folder(path: str | Path) -> None:
    """Make sure that nothing is in a folder yet."""
    path = Path(path)
    if not path.is_dir():
        check_new(path)
    elif any(path.iterdir()):
        raise UserError(f'{path} is there already, and is not empty: name '
                        'another, or delete it')


def write_text(path: str | Path, text: str) -> None:
    """Write a new file."""
    path = Path(path)
    check_new(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    except OSError as error:
        raise UserError(f'{path} cannot be written: {first_line(error)}'
                        ) from error


def replace_text(path: str | Path, text: str) -> None:
    """Write a file, whole or not at all, in the place of what is there."""
    part = Path(f'{path}.part')
    part.unlink(missing_ok=True)
    try:
        with part.open('x', encoding='utf-8') as file:
            file.write(text)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: str | Path, content: dict) -> None:
    """Write a new file of plain values."""
    text = json.dumps(content, ensure_ascii=False)
    # Half of a pair of surrogates can only be written as an escape.
    lone = any('\ud800' <= letter <= '\udfff' for letter in set(text))
    write_text(path, json.dumps(content) if lone else text)


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write a new text file."""
    write_text(path, ''.join(f'{line}\n' for line in lines))


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Fill a folder that gets its name when it is complete."""
    path = Path(path)
    check_new_folder(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            folder = Path(scratch, path.name)
            folder.mkdir()
            yield folder
            if path.exists():
                path.rmdir()
            os.replace(folder, path)
    except OSError as error:
        raise UserError(f'{path} cannot be written: {first_line(error)}'
                        ) from error


def fill_once(out: str | Path, record: str, description: dict,
              fill: Callable[[Path], None]) -> bool:
    """Generate a data set, unless it is there already."""
    out = Path(out)
    there = out / record
    if there.is_file() and _read(there) == description:
        return False
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f'{out} exists and holds something else than these {there.stem}; '
            'name another folder or delete it')
    out.parent.mkdir(parents=True, exist_ok=True)
    # All or nothing: an interrupted run leaves no half data set behind.
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        root = Path(scratch) / there.stem
        fill(root)
        (root / record).write_text(json.dumps(description))
        if out.exists():
            out.rmdir()
        os.replace(root, out)
    return True


def _read(record: Path) -> object:
    try:
        return json.loads(record.read_text())
    except (OSError, ValueError, RecursionError):
        return None  # It is something else.


def check_at_least(arguments: dict[str, int], least: dict[str, int]) -> None:
    """Make sure that no argument is too small."""
    for name, low in least.items():
        if arguments[name] < low:
            raise ValueError(f'{name} has to be at least {low}, not '
                             f'{arguments[name]}')
