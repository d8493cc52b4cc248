"""Results of checks, remembered until the data change."""
import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...utils.files import atomic_write, cache_file

# A result and the files and folders that it depends on.
Result = tuple[Any, Collection[str]]
# Clocks of file systems are that coarse (FAT has 2 s).
COARSE = 2 * 10**9


def remembered(question: object, check: Callable[[], Result]) -> Any:
    """The result of a check, which is not repeated if no file has changed.

    Args:
        question (object): All that the result depends on but the files.
        check (Callable): Returns the result, as JSON can hold it, and the
            files, and folders with the files in them, that it depends on;
            without any, the result is not remembered.
    """
    file = _record_of(question)
    record = _read(file)
    if record and record['state'] == _state(record['paths'])[0]:
        return record['result']
    started = time.time_ns()
    result, paths = check()
    paths = sorted(map(os.path.abspath, paths))
    state, newest = _state(paths)
    # Whoever writes a file now might change neither its time nor its size.
    if paths and newest < started - COARSE:
        _write(file, dict(paths=paths, state=state, result=result))
    return result


def _record_of(question: object) -> Path:
    text = json.dumps([_version(), question], default=str)
    return cache_file(f'checks/{sha256(text.encode()).hexdigest()}.json')


@cache
def _version() -> str:
    """Another one for each change of the code that checks."""
    code = sha256()
    for file in sorted(Path(__file__).parent.glob('*.py')):
        code.update(file.read_bytes())
    return code.hexdigest()


def _read(file: Path) -> dict | None:
    try:
        record = json.loads(file.read_bytes())
        return record if {*record} == {'paths', 'state', 'result'} else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _write(file: Path, record: dict) -> None:
    # Without a place to write, the next start checks again.
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, f'.{os.getpid()}') as part:
            part.write_text(json.dumps(record), encoding='utf-8')


def _state(paths: Collection[str]) -> tuple[str | None, int]:
    """A digest of sizes and times, and the newest time in nanoseconds."""
    digest, newest = sha256(), 0
    try:
        for name, info in _files(paths):
            times = info.st_mtime_ns, info.st_ctime_ns
            digest.update(os.fsencode(f'{name}\0{info.st_size}\0{times}\n'))
            newest = max(newest, *times)
    except OSError:
        return None, time.time_ns()
    return digest.hexdigest(), newest


def _files(paths: Collection[str]) -> Iterator[tuple[str, os.stat_result]]:
    for path in paths:
        yield path, os.stat(path)
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    yield entry.name, _stat(entry)


def _stat(entry: os.DirEntry) -> os.stat_result:
    try:
        return entry.stat()
    except OSError:  # A link to nothing.
        return entry.stat(follow_symlinks=False)
