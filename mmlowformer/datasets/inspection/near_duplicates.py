"""Images that are almost the same, found by difference hashes."""
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import combinations
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...utils.images import opened
from .report import evenly_spaced

# A hash has a bit for each of so many rows and columns.
SIDE = 16
# Bits that may differ. In scaled, compressed, darkened and slightly cropped
# copies 6 to 17 do, in other images about 128 of 256.
CLOSE = 26
# Images of fewer gray levels are all alike, such as those of the sky.
FLAT = 4
# Images of a part to compare; larger ones take too long to decode.
MOST_IMAGES, MOST_PIXELS = 4000, 50_000_000
# Rows of the table of distances at a time.
ROWS = 500


class NearDuplicates(NamedTuple):
    """Images of a part that resemble images of another one."""

    parts: tuple[str, str]
    pairs: list[tuple[str, str]]  # one for each image of the second part
    complete: bool  # whether all images were compared


def find_near_duplicates(folder: str, parts: Mapping[str, Sequence[str]]
                         ) -> Iterator[NearDuplicates]:
    """Compare images of different parts."""
    some = {part: evenly_spaced(names, MOST_IMAGES)
            for part, names in parts.items()}
    with ThreadPoolExecutor() as pool:
        hashes = {part: list(pool.map(difference_hash, (
            os.path.join(folder, name) for name in names)))
            for part, names in some.items()}
    for first, second in combinations(parts, 2):
        pairs = [(some[first][index], some[second][other])
                 for index, other in _close(hashes[first], hashes[second])]
        if pairs:
            yield NearDuplicates((first, second), pairs, all(
                len(some[part]) == len(parts[part])
                for part in (first, second)))


def difference_hash(path: str) -> np.ndarray | None:
    """Whether each pixel of a tiny copy is brighter than the last, as 1, -1.

    Damaged, huge and uniform images have none.
    """
    with suppress(OSError, ValueError), opened(path) as image:
        if image.width * image.height > MOST_PIXELS:
            return None
        # A JPEG file is decoded at an eighth of its size.
        image.draft('L', (8 * SIDE, 8 * SIDE))
        tiny = np.asarray(image.convert('L').resize(
            (SIDE + 1, SIDE), Image.Resampling.BOX), np.float32)
        if tiny.std() >= FLAT:
            return np.where(np.diff(tiny).ravel() > 0, 1, -1).astype(
                np.float32)
    return None


def _close(hashes: list, others: list) -> Iterator[tuple[int, int]]:
    """The nearest of the hashes for each of the others, if it is close."""
    known, sought = ([index for index, item in enumerate(items)
                      if item is not None] for items in (hashes, others))
    if not known or not sought:
        return
    table = np.stack([hashes[index] for index in known])
    for start in range(0, len(sought), ROWS):
        rows = sought[start:start + ROWS]
        agreement = np.stack([others[index] for index in rows]) @ table.T
        nearest = agreement.argmax(1)
        for row, best in zip(rows, nearest):
            if others[row] @ table[best] >= SIDE ** 2 - 2 * CLOSE:
                yield known[best], row
