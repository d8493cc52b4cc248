"""Images that are almost the same, found by difference hashes."""
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ...utils.images import SIMILAR, difference_hash, hash_distances
from ...utils.terminal import counting_bar
from .report import evenly_spaced

# Images of a part to compare.
MOST_IMAGES = 4000
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
    hashes = {part: _hashes(folder, names) for part, names in some.items()}
    for first, second in combinations(parts, 2):
        pairs = [(some[first][nearest], some[second][index])
                 for index, _, nearest in _close(
                     hashes[first], hashes[second])]
        if pairs:
            yield NearDuplicates((first, second), pairs, all(
                len(some[part]) == len(parts[part])
                for part in (first, second)))


def similar_groups(folder: str, names: Sequence[str],
                   keys: Sequence[str] | None = None) -> dict[str, str]:
    """Group near duplicates, and images of one key, by a name for each group.

    Images are near duplicates if a chain of others is between them, as in a
    video.
    """
    first: dict[str, int] = {}
    groups = np.array([first.setdefault(key, index)
                       for index, key in enumerate(keys or names)])
    hashes = _hashes(folder, names)
    for _, close, _ in _close(hashes, hashes):
        joined = np.unique(groups[close])
        if len(joined) > 1:
            groups[np.isin(groups, joined)] = joined[0]
    return {name: names[group] for name, group in zip(names, groups)}


def _hashes(folder: str, names: Sequence[str]) -> list[np.ndarray | None]:
    hashes = []
    with (ThreadPoolExecutor() as pool,
          counting_bar('Near duplicates', len(names)) as step):
        for found in pool.map(difference_hash, (
                os.path.join(folder, name) for name in names)):
            hashes.append(found)
            step()
    return hashes


def _close(hashes: list, others: list
           ) -> Iterator[tuple[int, np.ndarray, int]]:
    """Index of each of the others, of the close hashes and of the nearest."""
    known, sought = (np.array([index for index, item in enumerate(items)
                               if item is not None], int)
                     for items in (hashes, others))
    if not len(known):
        return
    table = np.stack([hashes[index] for index in known])
    for start in range(0, len(sought), ROWS):
        rows = sought[start:start + ROWS]
        distances = hash_distances(
            np.stack([others[index] for index in rows]), table)
        for index, row in zip(rows, distances):
            close = row <= SIMILAR
            if close.any():
                yield index, known[close], known[row.argmin()]
