"""Tiles of many images, written by processes, and continued after a kill."""
import json
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

from ..errors import UserError, blocked_signals, shown
from ..utils.file_lock import file_lock
from ..utils.files import LineFile, check_same_settings
from .formats.annotations import AnnotatedImage, Annotation
from .formats.image_folder import ImageFolder
from .tiling import PART, TileSettings, slice_image, tile_stem

# Settings, and then a line for each finished image.
JOURNAL = 'tiles.jsonl'
LOCK = '.tiles.lock'
# The remedy for a journal of something else.
OTHER_FOLDER = 'choose another folder with --out'
# Images that a process is given in advance.
AHEAD = 4
# A process starts in seconds, in which it could cut so many pixels.
PIXELS_EACH = 50_000_000


def write_tiles(annotated: Sequence[AnnotatedImage], images: ImageFolder,
                folder: Path, settings: TileSettings, journal: 'Journal',
                workers: int | None, step: Callable[[], None]
                ) -> list[AnnotatedImage]:
    """Write the tiles of images that the journal does not hold yet.

    By default there are as many processes as CPUs, if that is worth it.
    """
    check_stems(annotated)
    left = []
    for image in annotated:
        if image.name in journal.done:
            step()
        else:
            left.append((image, images.path(image.name)))
    work = partial(slice_image, folder=folder, settings=settings,
                   check=_check_stop)
    try:
        with closing(in_processes(
                work, left, workers or _worthwhile(left))) as finished:
            for image, tiles in finished:
                journal.add(image.name, tiles)
                step()
    except BaseException:
        remove_unfinished(folder)
        raise
    return [tile for image in annotated for tile in journal.done[image.name]]


def _worthwhile(tasks: Sequence[tuple[AnnotatedImage, str]]) -> int:
    # It imports torch, which a process that cuts images need not.
    from ..utils.device import usable_cpus
    pixels = sum(image.width * image.height for image, _ in tasks)
    return min(usable_cpus(), pixels // PIXELS_EACH)


def check_stems(annotated: Sequence[AnnotatedImage]) -> None:
    """Make sure that no two images have tiles of the same names."""
    known: dict[tuple[str, str], str] = {}
    for image in annotated:
        other = known.setdefault(tile_stem(image.name), image.name)
        if other != image.name:
            raise UserError(
                f'tiles of {shown(other)} and {shown(image.name)} would have '
                'the same names: rename one of the images')


class Journal:
    """The tiles of finished images, in a file that survives a kill.

    Attributes:
        done (dict[str, list[AnnotatedImage]]): Tiles by the names of images.
    """

    def __init__(self, path: Path, settings: dict, *, resume: bool):
        self.done: dict[str, list[AnnotatedImage]] = {}
        self._file = LineFile(path, 'ab' if resume else 'xb')
        if not resume or not self._read(path, settings):
            self._append(settings)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, name: str, tiles: list[AnnotatedImage]) -> None:
        """Add an image whose tiles are complete."""
        self.done[name] = tiles
        self._append([name, tiles])

    def _append(self, content: object) -> None:
        self._file.add(json.dumps(content).encode() + b'\n')

    def _read(self, path: Path, settings: dict) -> int:
        """Read whole lines, drop a torn one, and return their length."""
        whole = 0
        with path.open('rb') as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b'\n'):
                    break  # The process was killed while it wrote.
                try:
                    content = json.loads(line)
                    if number > 1:
                        self.done[content[0]] = list(map(_tile, content[1]))
                except (LookupError, TypeError, ValueError) as error:
                    raise UserError(f'{path}, line {number} is damaged: '
                                    f'{OTHER_FOLDER}') from error
                if number == 1:
                    check_same_settings(
                        f'--resume: {path.parent} was made',
                        content if isinstance(content, dict) else {},
                        settings, f'use the same, or {OTHER_FOLDER}')
                whole += len(line)
        os.truncate(path, whole)
        return whole


@contextmanager
def open_journal(folder: Path, settings: dict, *, resume: bool
                 ) -> Iterator[Journal]:
    """Open the journal of a folder, which no other process may use."""
    with (file_lock(folder / LOCK, 'tiling', '--out'),
          closing(Journal(folder / JOURNAL, settings, resume=resume)
                  ) as journal):
        remove_unfinished(folder)
        yield journal


def _tile(record: list) -> AnnotatedImage:
    name, width, height, annotations, extra = record
    return AnnotatedImage(name, width, height, [
        Annotation(label, tuple(box), *rest)
        for label, box, *rest in annotations], extra)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing."""
    for path in folder.rglob(f'*{PART}'):
        path.unlink(missing_ok=True)


def in_processes(work: Callable, tasks: Sequence[tuple], workers: int
                 ) -> Generator[tuple, None, None]:
    """Yield the first argument and the result of each task, in order.

    A single process is this one.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        for task in tasks:
            yield task[0], work(*task)
        return
    running: deque[tuple[object, Future]] = deque()
    with _pool(workers) as pool:
        for task in tasks:
            with blocked_signals():
                running.append((task[0], pool.submit(work, *task)))
            if len(running) >= AHEAD * workers:
                first, future = running.popleft()
                yield first, future.result()
        for first, future in running:
            yield first, future.result()


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """New processes, as threads and libraries of this one cannot be forked."""
    context = multiprocessing.get_context('spawn')
    before = set(multiprocessing.active_children())
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, context, _start, (stop, ))
    try:
        yield pool
    except BrokenProcessPool as error:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
        raise UserError(
            'a process was killed, perhaps as memory ran out: continue with '
            '--resume and fewer --workers') from error
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start(stop: Event) -> None:
    """Prepare a process that is to end when its parent is killed."""
    global _STOP
    _STOP = stop
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _check_stop() -> None:
    """End the work on an image after an interruption."""
    if _STOP is not None and _STOP.is_set():
        raise InterruptedError('interrupted')


_STOP: Event | None = None
