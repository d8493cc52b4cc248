"""The folder of a run: claimed by one process, resumed with equal settings."""
import json
import os
import re
import shutil
import time
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Sequence
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    suppress,
)
from itertools import count
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError, is_interrupt
from ..utils.file_lock import LockedError, file_lock
from ..utils.files import (
    PREDICTIONS,
    check_same_settings,
    replace_text,
    write_errors,
)
from .result_lines import done_in, merge, restore, write_coco

# What the results depend on. It is created first.
RUN = 'run.json'
# Settings whose values say nothing.
HASHED = ('checkpoint', 'config', 'inputs', 'ann_file', 'gallery')
# The same lines in COCO's format.
LINES, RECORDS = PREDICTIONS, 'predictions.json'
# Files of the lines of shards, and of shards that have ended.
PARTS, PART, COMPLETE = 'parts', '.jsonl', '.complete.jsonl'
# Locks of the folder, and of the time in which shards are merged.
WRITING, MERGING = Path(LINES).stem, 'merge'
# Bytes of lines up to which both are written.
SMALL = 10 ** 8


class TakenError(UserError):
    """A folder that holds something else."""


class Shard(NamedTuple):
    """One of several processes that deal the inputs out."""

    rank: int  # from 0
    world: int

    @classmethod
    def parse(cls, text: str) -> 'Shard':
        """Read ``I/N``, I from 1 to N."""
        found = re.fullmatch(r'(\d+)/(\d+)', text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ArgumentTypeError(f'{text!r} has to be I/N, with I from 1 '
                                    'to N, such as 1/8')
        return cls(int(found[1]) - 1, int(found[2]))

    def file(self, folder: Path, suffix: str = PART) -> Path:
        """The file of its lines, in a run's folder."""
        return (folder / PARTS /
                f'{Path(LINES).stem}-{self.rank + 1}-of-{self.world}{suffix}')

    def all(self) -> 'Iterator[Shard]':
        """All shards of the run."""
        return (Shard(rank, self.world) for rank in range(self.world))


class ResultsFolder:
    """A folder that other processes write to only as other shards.

    Attributes:
        path (Path): The folder.
        lines (Path): The file of this process with a line for each image or
            frame.
        done (set[int]): Inputs that an earlier process has completed.
        results (Path): The file to show: that in COCO's format, if written.
        is_merged (bool): Whether it has the results of all processes.
        count (int): Number of all inputs.
    """

    def __init__(self, path: Path, done: set[int], settings: dict,
                 shard: Shard | None, locks: ExitStack):
        self.path, self.done = path, done
        self.lines = self.results = (
            shard.file(path) if shard else path / LINES)
        self.is_merged = False
        self.count = settings.get('count', 0)
        self._shard, self._locks = shard, locks

    def left(self, positions: Iterable[int]) -> list[int]:
        """The inputs that this process has to predict."""
        rank, world = self._shard or (0, 1)
        return [position for position in positions
                if position % world == rank and position not in self.done]

    def missing(self) -> list[int]:
        """The inputs without results, after a merge."""
        done = done_in(self.path / LINES)
        return [position for position in range(self.count)
                if position not in done]

    @contextmanager
    def finishing(self, json_file: str | None = None) -> Iterator[None]:
        """Sort the lines and write the JSON file, also after Ctrl-C.

        Of several shards the last one does so, when all have ended.
        """
        try:
            yield
        except BaseException as error:
            if is_interrupt(error) and not self._shard:
                self._finish(json_file)
            raise
        if not self._shard or self._is_last():
            self._finish(json_file)

    def _is_last(self) -> bool:
        """Mark the shard as complete, and look for others."""
        assert self._shard
        os.replace(self.lines, self._shard.file(self.path, COMPLETE))
        # Of two that end at a time, at least one sees both marks, and one
        # gets the lock.
        self._locks.close()
        if not self._all_complete():
            return False
        with suppress(LockedError):
            self._locks.enter_context(_lock(self.path, MERGING))
            self._locks.enter_context(_lock(self.path))
            return self._all_complete() and bool(parts_of(self.path))
        return False

    def _all_complete(self) -> bool:
        assert self._shard
        complete = [shard.file(self.path, COMPLETE).exists()
                    for shard in self._shard.all()]
        running = any(shard.file(self.path).exists()
                      for shard in self._shard.all())
        # After a first merge, other shards need not run again.
        return not running and (all(complete)
                                or (self.path / LINES).exists())

    def _finish(self, json_file: str | None) -> None:
        lines = self.results = self.path / LINES
        records = Path(json_file or self.path / RECORDS)
        with write_errors(lines):
            merge([lines, *parts_of(self.path)], lines)
            shutil.rmtree(self.path / PARTS, ignore_errors=True)
        self.is_merged = True
        with write_errors(records):
            if json_file is None and lines.stat().st_size > SMALL:
                # An earlier process may have written it.
                records.unlink(missing_ok=True)
                return
            write_coco(lines, records)
        self.results = records


def parts_of(folder: Path) -> list[Path]:
    """Files of the lines of shards that are not merged yet."""
    return sorted((folder / PARTS).glob(f'*{PART}'))


def _lock(folder: Path, name: str = WRITING, *, shared: bool = False,
          wait: bool = False) -> AbstractContextManager[None]:
    return file_lock(folder / f'.{name}.lock', 'prediction', '--out',
                     shared=shared, wait=wait)


@contextmanager
def claim_folder(named: str | Path | None, default: str, settings: dict, *,
                 resume: bool = False, shard: Shard | None = None
                 ) -> Iterator[ResultsFolder]:
    """Claim a new or empty folder, or that of an interrupted run.

    Without a name it is the default, or else one with -2, -3 and so on. Shards
    of a run claim its folder together.
    """
    with ExitStack() as locks:
        for path in [Path(named)] if named else _numbered(default):
            try:
                _check_foreign(path, resume or shard is not None)
                with write_errors(path / RUN):
                    done = (_join(path, settings, resume, shard, locks)
                            if shard else
                            _claim(path, settings, resume, locks))
                break
            except (LockedError, TakenError):
                if named:
                    raise
        yield ResultsFolder(path, done, settings, shard, locks)


def _numbered(default: str) -> Iterator[Path]:
    return (Path(f'{default}-{number}' if number > 1 else default)
            for number in count(1))


def _check_foreign(path: Path, resume: bool) -> None:
    """Refuse a folder before anything is written to it."""
    if not os.path.lexists(path):
        return
    names = set(os.listdir(path)) if path.is_dir() else {path.name}
    names -= {f'.{WRITING}.lock', f'.{MERGING}.lock'}
    if names and not (resume and RUN in names):
        raise TakenError(
            f'{path} exists already and is not empty: delete it, or choose '
            'another name' + ('' if RUN not in names else
                              ' (--resume continues its run)'))


def _claim(path: Path, settings: dict, resume: bool, locks: ExitStack
           ) -> set[int]:
    """Write the settings, or compare them; return the inputs done."""
    locks.enter_context(_lock(path))
    run, lines, parts = path / RUN, path / LINES, parts_of(path)
    if resume and (lines.exists() or parts):
        _compare(run, settings)
        done = restore(lines, *parts)
        shutil.rmtree(path / PARTS, ignore_errors=True)
        return done
    if resume:
        # A process that was killed may have left a part of it.
        replace_text(run, json.dumps(settings, indent=2))
    elif not _write_once(run, settings):
        raise TakenError(f'{path} has just been taken by another prediction: '
                         'choose another name')
    return set()


def _join(path: Path, settings: dict, resume: bool, shard: Shard,
          locks: ExitStack) -> set[int]:
    """Join the other shards; return the inputs done."""
    # Those that have ended may be merged at the moment.
    with _lock(path, MERGING, shared=True, wait=True):
        locks.enter_context(_lock(path, shared=True))
    if not _write_once(path / RUN, settings):
        _compare(path / RUN, settings, tries=20)
    part, complete = shard.file(path), shard.file(path, COMPLETE)
    locks.enter_context(_lock(part.parent, part.stem))
    if not resume and (part.exists() or complete.exists()
                       or (path / LINES).exists()):
        raise TakenError(f'{path} has results of this shard: --resume '
                         'continues them')
    if complete.exists():
        os.replace(complete, part)
    if part.exists():
        restore(part)
    return {position for position in done_in(path / LINES, *parts_of(path))
            if position % shard.world == shard.rank}


def _write_once(run: Path, settings: dict) -> bool:
    try:
        with open(run, 'x', encoding='utf-8') as file:
            file.write(json.dumps(settings, indent=2))
    except FileExistsError:
        return False
    return True


def _compare(run: Path, settings: dict, tries: int = 1) -> None:
    check_same_settings(
        f'{run.parent} was predicted', _read(run, tries), settings,
        'use the same, or choose another folder with --out', HASHED)


def _read(run: Path, tries: int = 1) -> dict:
    """Read the settings of a run, which another process may write now."""
    for _ in range(tries - 1):
        if run.read_bytes().endswith(b'}'):
            break
        time.sleep(0.1)
    try:
        settings = json.loads(run.read_text(encoding='utf-8'))
        return dict(settings)
    except OSError as error:
        raise UserError(f'{run.parent} is no folder of results: {run.name} '
                        f'cannot be read ({error.strerror})') from error
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f'{run} is damaged: choose another folder with --out'
                        ) from error


@contextmanager
def merge_folders(folders: Sequence[str], out: str | None
                  ) -> Iterator[ResultsFolder]:
    """Merge the lines of a run's shards into one folder.

    Defaults to the first of the folders. Pictures stay where they are.
    """
    target, others = Path(out or folders[0]), list(map(Path, folders))
    settings = _read(others[0] / RUN)
    with ExitStack() as locks:
        for folder in others:
            _compare(folder / RUN, settings)
        _check_foreign(target, resume=True)
        with write_errors(target / RUN):
            for folder in {path.resolve(): path for path in (
                    target, *others)}.values():
                locks.enter_context(_lock(folder))
            if not _write_once(target / RUN, settings):
                _compare(target / RUN, settings)
            merge([file for folder in (target, *others) for file in (
                folder / LINES, *parts_of(folder))], target / LINES)
        yield ResultsFolder(target, set(), settings, None, locks)
