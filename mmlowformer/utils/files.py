"""Files and folders that are written completely or not at all."""
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from itertools import count
from pathlib import Path

from ..errors import UserError, first_line, shown

# Results of tools/predict.py, a line for each image or frame.
PREDICTIONS = 'predictions.jsonl'


def check_new(*paths: str | Path, choose: str = 'another name') -> None:
    """Make sure that outputs do not exist yet."""
    if there := [path for path in paths if os.path.lexists(path)]:
        more = f', and {len(there) - 1} more files' * (len(there) > 1)
        raise UserError(f'{there[0]} exists already{more}: delete '
                        f'{"them" if more else "it"}, or choose {choose}')


def check_new_folder(path: str | Path) -> None:
    """Make sure that a folder is empty or does not exist yet."""
    path = Path(path)
    if not path.is_dir():
        check_new(path)
    elif any(path.iterdir()):
        raise UserError(f'{path} exists already and is not empty: delete it, '
                        'or choose another name')


def unused(path: str | Path,
           is_taken: Callable[[Path], bool] = os.path.lexists) -> Path:
    """The path itself, or else with -2, -3 and so on behind its stem."""
    wanted = file = Path(path)
    for number in count(2):
        if not is_taken(file):
            break
        file = wanted.with_stem(f'{wanted.stem}-{number}')
    return file


def check_outputs(out: str | None, show_dir: str | None,
                  submission: str | None = None, report: str | None = None,
                  *, resume: bool = False) -> None:
    """Make sure that the outputs of a test are new and can be written."""
    if out and Path(out).is_dir():
        raise UserError(f'--out {out} is a folder, it must be a file')
    check_new(*filter(None, (out, submission)))
    for option, path in (('--out', out and Path(out).parent),
                         ('--show-dir', show_dir and Path(show_dir)),
                         ('--report', report and Path(report))):
        problem = path and folder_problem(path)
        if problem:
            raise UserError(f'{option} {path} cannot be written: {problem}')
    if show_dir and not resume:
        check_new_folder(show_dir)
    if report:
        check_new_folder(report)


def folder_problem(folder: Path) -> str | None:
    """Why a folder cannot be created or written to."""
    folder = folder.absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        return f'{folder} is a file'
    if not os.access(folder, os.W_OK | os.X_OK):
        return f'no permission in {folder}'
    return None


def cache_file(name: str) -> Path:
    """A file in the user's cache folder, which may not be writable."""
    folder = os.environ.get('XDG_CACHE_HOME')
    try:
        return Path(folder or Path.home() / '.cache', 'mmlowformer', name)
    # In containers, for users that the system does not know.
    except RuntimeError:
        return Path(os.devnull, name)


@contextmanager
def atomic_write(path: str | Path, suffix: str = '.part') -> Iterator[Path]:
    """Yield a file beside ``path`` that replaces it on success.

    Processes that may write the same file at a time need a unique suffix.
    """
    part = Path(f'{path}{suffix}')
    part.unlink(missing_ok=True)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def replace_text(path: str | Path, text: str) -> None:
    """Write a file, or replace it."""
    with (atomic_write(path) as part,
          part.open('x', encoding='utf-8') as file):
        file.write(text)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Create the folder of a file, and name the file in errors."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f'{path} cannot be written: {first_line(error)}'
                        ) from error


def write_text(path: str | Path, text: str) -> None:
    """Write a new file."""
    check_new(path)
    with write_errors(Path(path)):
        replace_text(path, text)


def write_json(path: str | Path, content: dict, *, overwrite: bool = False
               ) -> None:
    """Write a JSON file, by default a new one; items of lists one by one."""
    if not overwrite:
        check_new(path)
    with (write_errors(Path(path)), atomic_write(path) as part,
          part.open('x', encoding='utf-8') as file):
        file.writelines(_json_parts(content))


def _json_parts(content: dict) -> Iterator[str]:
    # The text of millions of items, at once, needs gigabytes.
    for index, (key, value) in enumerate(content.items()):
        yield f'{", " if index else "{"}{_json(key)}: '
        if isinstance(value, list):
            for position, item in enumerate(value):
                yield f'{", " if position else "["}{_json(item)}'
            yield ']' if value else '[]'
        else:
            yield _json(value)
    yield '}' if content else '{}'


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # UTF-8 has no half of a surrogate pair; JSON can escape it.
    return text if text.isascii() or _fits_utf8(text) else json.dumps(value)


def _fits_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_same_settings(made: str, known: dict, fresh: dict, remedy: str,
                        hidden: Collection[str] = ()) -> None:
    """Refuse to continue what was made with other settings.

    Values of ``hidden`` ones are not shown.
    """
    fresh = json.loads(json.dumps(fresh))  # Tuples become lists.
    for key in dict.fromkeys([*fresh, *known]):
        if known.get(key) != fresh.get(key):
            values = '' if key in hidden else (
                f': {shown(known.get(key))} instead of '
                f'{shown(fresh.get(key))}')
            raise UserError(f'{made} with other settings ({key}{values}): '
                            f'{remedy}')


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write a new text file."""
    write_text(path, ''.join(f'{line}\n' for line in lines))


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield a folder that becomes ``path`` on success."""
    path = Path(path)
    check_new_folder(path)
    with (write_errors(path),
          tempfile.TemporaryDirectory(dir=path.parent) as scratch):
        folder = Path(scratch, path.name)
        folder.mkdir()
        yield folder
        if path.exists():
            path.rmdir()
        os.replace(folder, path)


def generate_if_missing(out: str | Path, record: str, description: dict,
                        fill: Callable[[Path], None]) -> bool:
    """Generate a data set, unless the same one exists."""
    out = Path(out)
    existing = out / record
    if existing.is_file() and _read(existing) == description:
        return False
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f'{out} holds something else than these '
                              f'{existing.stem}: delete it, or choose another '
                              'name')
    with new_folder(out) as folder:
        fill(folder)
        (folder / record).write_text(json.dumps(description))
    return True


def _read(record: Path) -> object:
    try:
        return json.loads(record.read_text())
    except (OSError, ValueError, RecursionError):
        return None  # Not a record.


def check_at_least(arguments: dict[str, int], least: dict[str, int]) -> None:
    """Make sure that no argument is too small."""
    for name, low in least.items():
        if arguments[name] < low:
            raise ValueError(f'{name} must be at least {low}, not '
                             f'{arguments[name]}')


class LineFile:
    """A file whose lines are whole, also if the disk is full."""

    def __init__(self, path: Path, mode: str = 'ab'):
        with write_errors(path):
            # Without a buffer, a line is in the file once it is written.
            self._file = FileIO(path, mode)

    def add(self, line: bytes) -> None:
        """Append a line."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            while line:
                # A full disk takes a part before it raises an error.
                line = line[self._file.write(line):]
        except OSError:
            self._file.truncate(end)
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()
