"""Results as lines of JSON, one for each image or frame."""
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..utils.files import atomic_write

# The beginning of a line.
START = re.compile(
    rb'{"input": ([1-9]\d{0,14}), (?:"(frames?)": (\d{1,15}), )?')
# In place of a frame's number, for the line that ends a video.
END = 2 ** 62


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

    The frame is 0 for an image, and END for the end of a video. A file that
    does not exist has no lines.
    """
    if not file.exists():
        return
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


def read_lines(lines: Path) -> Iterator[tuple[int, dict]]:
    """Positions and contents of the lines of images."""
    with open(lines, 'rb') as file:
        for number, line in enumerate(file, 1):
            try:
                content = json.loads(line)
                yield content['input'] - 1, content
            except (LookupError, TypeError, ValueError) as error:
                raise UserError(f'{lines}, line {number} is damaged: delete '
                                'the line') from error


def done_in(*files: Path) -> set[int]:
    """Images with a line, and videos with all of them."""
    return {position for file in files for position, frame, *_ in scan(file)
            if frame in (0, END)}


def restore(target: Path, *parts: Path) -> set[int]:
    """Merge files without incomplete videos; return the inputs done."""
    done = done_in(target, *parts)
    merge([target, *parts], target, done)
    return done


def merge(parts: Iterable[Path], target: Path,
          only: set[int] | None = None) -> None:
    """Write the lines of files to one, in the order of the inputs.

    Args:
        parts (Iterable[Path]): Files of lines; of equal ones the first counts.
        target (Path): The new file, which may be one of them.
        only (set[int], optional): Inputs to keep. Defaults to all.
    """
    parts = [part for part in parts if part.exists()]
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
