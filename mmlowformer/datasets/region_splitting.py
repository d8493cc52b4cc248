"""Parts of tiled images that share no pixel."""
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ..errors import UserError
from ..utils.tiles import Tile
from .checks.coco_annotations import is_number

# Where a tile starts and ends on an axis, and its index; sorted.
Rows = list[tuple[int, int, int]]


def tile_of(record: Mapping[str, Any]) -> tuple[str, Tile] | None:
    """The image of which a record of COCO's images is a tile, and where."""
    offset, source = record.get('offset'), record.get('source')
    if source is None or not isinstance(offset, list) or len(offset) != 2:
        return None
    sides = [*offset, record.get('width'), record.get('height')]
    if not all(map(is_number, sides)):
        return None
    left, top, width, height = map(int, sides)
    return str(source), Tile(top, left, top + height, left + width)


def split_regions(images: Sequence[Mapping[str, Any]],
                  fractions: Mapping[str, float], seed: int
                  ) -> tuple[dict[str, list[int]], int]:
    """Split the tiles of each image by straight cuts.

    Validation and test get the tiles at two ends of the image. Tiles that
    overlap or touch those are left out; their number is returned, too.
    """
    scenes = defaultdict(list)
    for index, record in enumerate(images):
        tile = tile_of(record)
        if tile is None:
            raise UserError('--regions is for the tiles of tools/data.py tile:'
                            ' other images have no source and offset')
        scenes[tile[0]].append((index, tile[1]))
    parts: dict[str, list[int]] = {part: [] for part in ('train', *fractions)}
    for scene, tiles in scenes.items():
        chance = random.Random(f'{seed} {scene}')
        for part, chosen in _split_scene(tiles, fractions, chance).items():
            parts[part] += chosen
    for part, chosen in parts.items():
        if not chosen:
            raise UserError(f'--regions leaves no tile for {part}: cut '
                            'smaller tiles, or add images')
    return ({part: sorted(chosen) for part, chosen in parts.items()},
            len(images) - sum(map(len, parts.values())))


def _split_scene(tiles: Sequence[tuple[int, Tile]],
                 fractions: Mapping[str, float], chance: random.Random
                 ) -> dict[str, list[int]]:
    """Cut along the axis with more rows of tiles, from one of its ends."""
    rows: Rows = max((sorted((tile[axis], tile[axis + 2], index)
                             for index, tile in tiles) for axis in range(2)),
                     key=lambda items: len({start for start, *_ in items}))
    if chance.random() < 0.5:
        rows = _backwards(rows)
    parts = {}
    for part, fraction in fractions.items():
        parts[part], rows = _take(rows, max(1, round(fraction * len(tiles))))
        # The next part is at the other end.
        rows = _backwards(rows)
    return dict(train=[index for *_, index in rows], **parts)


def _backwards(rows: Rows) -> Rows:
    return sorted((-end, -start, index) for start, end, index in rows)


def _take(rows: Rows, wanted: int) -> tuple[list[int], Rows]:
    """Take the first rows of tiles, and leave out those that follow closely.

    Nothing is taken if nothing would be left.
    """
    taken: list[int] = []
    last = -np.inf
    for _, group in groupby(rows, key=lambda item: item[0]):
        if len(taken) >= wanted:
            break
        for _, end, index in group:
            taken.append(index)
            last = max(last, end)
    rest = [item for item in rows if item[0] > last]
    return (taken, rest) if rest else ([], rows)


def overlapping(images: Sequence[Mapping[str, Any]],
                others: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """Indices of tiles that share pixels with other tiles."""
    known: dict[str, list[Tile]] = defaultdict(list)
    for record in others:
        if tile := tile_of(record):
            known[tile[0]].append(tile[1])
    corners = {scene: np.array(tiles) for scene, tiles in known.items()}
    for index, record in enumerate(images):
        tile = tile_of(record)
        if tile and tile[0] in corners:
            top, left, bottom, right = corners[tile[0]].T
            if ((top < tile[1].bottom) & (bottom > tile[1].top)
                    & (left < tile[1].right) & (right > tile[1].left)).any():
                yield index
