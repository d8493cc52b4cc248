"""The folder of a run: claimed by one process, resumed with equal settings."""
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import numpy as np

from ..errors import UserError, is_interrupt, shown
from ..utils.file_lock import LockedError, file_lock
from ..utils.files import atomic_write, replace_text, write_errors

# What the results depend on. It is created first.
RUN = 'run.json'
# A line for each image or frame; the same in COCO's format.
LINES, RECORDS = 'predictions.jsonl', 'predictions.json'
# Bytes of lines up to which both are written.
SMALL = 10 ** 8
# The beginning of a line.
START = re.compile(rb'{"input": (\d+), (?:"(frames?)": (\d+), )?')
# In place of a frame's number, for the line that ends a video.
END = 2 ** 62


class TakenError(UserError):
    """A folder that holds something else."""


class ResultsFolder:
    """A folder that no other process writes to.

    Attributes:
        path (Path): The folder.
        lines (Path): Its file with a line for each image or frame.
        done (set[int]): Inputs that an earlier process has completed.
        results (Path): The file to show: that in COCO's format, if written.
    """

    def __init__(self, path: Path, done: set[int]):
        self.path, self.done = path, done
        self.lines = self.results = path / LINES

    @contextmanager
    def finishing(self, json_file: str | None = None) -> Iterator[None]:
        """Sort the lines and write the JSON file, also after Ctrl-C."""
        try:
            yield
        except BaseException as error:
            if is_interrupt(error):
                self._finish(json_file)
            raise
        self._finish(json_file)

    def _finish(self, json_file: str | None) -> None:
        with write_errors(self.lines):
            merge([self.lines], self.lines)
        records = Path(json_file or self.path / RECORDS)
        with write_errors(records):
            if json_file is None and self.lines.stat().st_size > SMALL:
                # An earlier process may have written it.
                records.unlink(missing_ok=True)
                return
            write_coco(self.lines, records)
        self.results = records


@contextmanager
def claim_folder(named: str | None, default: str, settings: dict, *,
                 resume: bool = False) -> Iterator[ResultsFolder]:
    """Claim a new or empty folder, or that of an interrupted run.

    Without a name it is the default, or else one with -2, -3 and so on.
    """
    with ExitStack() as stack:
        for path in [Path(named)] if named else _numbered(default):
            try:
                _check_foreign(path, resume)
                with write_errors(path / RUN):
                    stack.enter_context(file_lock(
                        path / f'.{Path(LINES).stem}.lock', 'prediction',
                        '--out'))
                    done = _claim(path, settings, resume)
                break
            except (LockedError, TakenError):
                if named:
                    raise
        yield ResultsFolder(path, done)


def _numbered(default: str) -> Iterator[Path]:
    return (Path(f'{default}-{number}' if number > 1 else default)
            for number in count(1))


def _check_foreign(path: Path, resume: bool) -> None:
    """Refuse a folder before anything is written to it."""
    if not os.path.lexists(path):
        return
    names = set(os.listdir(path)) if path.is_dir() else {path.name}
    names.discard(f'.{Path(LINES).stem}.lock')
    if names and not (resume and RUN in names):
        raise TakenError(
            f'{path} exists already and is not empty: delete it, or choose '
            'another name' + ('' if RUN not in names else
                              ' (--resume continues its run)'))


def _claim(path: Path, settings: dict, resume: bool) -> set[int]:
    """Write the settings, or compare them; return the inputs done."""
    text = json.dumps(settings, indent=2)
    lines = path / LINES
    if resume and lines.exists():
        _compare(path / RUN, json.loads(text))
        return restore(lines)
    if resume:
        # A process that was killed may have left a part of it.
        replace_text(path / RUN, text)
        return set()
    try:
        with open(path / RUN, 'x', encoding='utf-8') as file:
            file.write(text)
    except FileExistsError as error:
        raise TakenError(f'{path} has just been taken by another prediction: '
                         'choose another name') from error
    return set()


def _compare(run: Path, settings: dict) -> None:
    try:
        old = json.loads(run.read_text(encoding='utf-8'))
        differing = [key for key, value in settings.items()
                     if old.get(key) != value]
    except (AttributeError, ValueError, RecursionError) as error:
        raise UserError(f'{run} is damaged: choose another folder with --out'
                        ) from error
    if differing:
        key = differing[0]
        raise UserError(
            f'--resume: {run.parent} was predicted with another {key} '
            f'({shown(old.get(key))} instead of {shown(settings[key])}): '
            'name the same, or choose another folder with --out')


def line_of(position: int, *, frame: int | None = None,
            frames: int | None = None, **values) -> bytes:
    """A line for an image, a frame, or the end of a video."""
    kind = {} if frame is None else dict(frame=frame)
    if frames is not None:
        kind = dict(frames=frames)
    return json.dumps(dict(input=position + 1, **kind, **values)
                      ).encode() + b'\n'


def scan(file: Path) -> Iterator[tuple[int, int, int, int]]:
    """Yield input, frame, offset and length of each whole line.

    The frame is 0 for an image, and END for the end of a video.
    """
    offset = 0
    with open(file, 'rb') as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b'\n'):
                return  # A process was killed while it wrote.
            found = START.match(line)
            if not found:
                raise UserError(f'{file}, line {number} is damaged: delete '
                                'the line')
            frame = END if found[2] == b'frames' else int(found[3] or 0)
            yield int(found[1]) - 1, frame, offset, len(line)
            offset += len(line)


def restore(file: Path) -> set[int]:
    """Drop a torn line and incomplete videos; return the inputs done."""
    done = {position for position, frame, *_ in scan(file)
            if frame in (0, END)}
    merge([file], file, done)
    return done


def merge(parts: Iterable[Path], target: Path,
          only: set[int] | None = None) -> None:
    """Write the lines of files to one, in the order of the inputs.

    Args:
        parts (Iterable[Path]): Files of lines; of equal ones the first counts.
        target (Path): The new file, which may be one of them.
        only (set[int], optional): Inputs to keep. Defaults to all.
    """
    parts = list(parts)
    # Positions alone, as the lines may not fit into the memory.
    found = np.fromiter(
        ((position, frame, number, offset, length)
         for number, part in enumerate(parts)
         for position, frame, offset, length in scan(part)
         if only is None or position in only), np.dtype((np.int64, 5)))
    order = np.lexsort(found.T[::-1])
    if parts == [target] and (np.diff(order) == 1).all() and (
            found[:, 4].sum() == target.stat().st_size):
        return
    with ExitStack() as stack:
        merged = stack.enter_context(open(
            stack.enter_context(atomic_write(target)), 'xb'))
        files = [stack.enter_context(open(part, 'rb')) for part in parts]
        last = None
        for position, frame, number, offset, length in map(
                np.ndarray.tolist, found[order]):
            if (position, frame) != last:
                files[number].seek(offset)
                merged.write(files[number].read(length))
            last = position, frame


def write_coco(lines: Path, target: Path) -> None:
    """Write the records of all lines as one list."""
    with (atomic_write(target) as part, open(part, 'xb') as file,
          open(lines, 'rb') as source):
        separator = b'['
        for line in source:
            # Quotes within names are escaped.
            records = line.partition(b'"predictions": [')[2][:-len(b']}\n')]
            if records:
                file.write(separator + records)
                separator = b', '
        file.write(b']' if separator == b', ' else b'[]')
