"""Large images and their annotations, cut into tiles."""
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..utils.files import atomic_write
from ..utils.images import OPENCV, read
from ..utils.tiles import Tile, tiles_of
from .checks.coco_annotations import rle_counts
from .formats.annotations import AnnotatedImage, Annotation
from .polygon_masks import decode_mask

JPEG = ('.jpg', '.jpeg')
# Suffix of tiles that are being written.
PART = '.part'


class TileSettings(NamedTuple):
    """How images are cut.

    Attributes:
        size (int): Side of a tile, in pixels.
        overlap (float): Overlap of neighboring tiles, relative to the size.
        min_visible (float): Boxes of which a tile holds less are ignored.
        negatives (float): Tiles without boxes to keep, per tile with boxes.
        seed (int): Of the choice of tiles without boxes.
    """

    size: int
    overlap: float
    min_visible: float
    negatives: float
    seed: int


def slice_image(image: AnnotatedImage, path: str, folder: Path,
                settings: TileSettings, check: Callable[[], None]
                ) -> list[AnnotatedImage]:
    """Write the tiles of an image, with a check before each one."""
    tiles = [(tile, _slice(image, tile, settings.min_visible)) for tile in
             tiles_of(image.height, image.width, settings.size,
                      settings.overlap)]
    chosen = [item for item in tiles if item[1].annotations]
    empty = [item for item in tiles if not item[1].annotations]
    kept = min(len(empty), round(settings.negatives * max(1, len(chosen))))
    # Whatever other images there are, and whichever process cuts them.
    chance = random.Random(f'{settings.seed} {image.name}')
    chosen = sorted(chosen + chance.sample(empty, kept),
                    key=lambda item: item[0])
    if chosen:
        _write(chosen, path, folder, check)
    return [part for _, part in chosen]


def _slice(image: AnnotatedImage, tile: Tile, min_visible: float
           ) -> AnnotatedImage:
    stem, suffix = tile_stem(image.name)
    name = f'{stem}_y{tile.top:05d}_x{tile.left:05d}{suffix}'
    annotations = [part for item in image.annotations
                   if (part := _slice_annotation(item, tile, min_visible))]
    return AnnotatedImage(name, tile.right - tile.left,
                          tile.bottom - tile.top, annotations,
                          dict(source=image.name,
                               offset=[tile.left, tile.top]))


def tile_stem(name: str) -> tuple[str, str]:
    """How the names of an image's tiles begin and end."""
    stem, suffix = os.path.splitext(name)
    return stem, suffix if suffix.lower() in JPEG else '.png'


def _slice_annotation(item: Annotation, tile: Tile, min_visible: float
                      ) -> Annotation | None:
    left, top, right, bottom = item.box
    box = (max(left, tile.left) - tile.left, max(top, tile.top) - tile.top,
           min(right, tile.right) - tile.left,
           min(bottom, tile.bottom) - tile.top)
    if box[0] >= box[2] or box[1] >= box[3]:
        return None
    seen = (box[2] - box[0]) * (box[3] - box[1])
    visible = seen / ((right - left) * (bottom - top))
    segmentation = _slice_segmentation(item, tile)
    # A tile may hold a corner of the box, but nothing of the object.
    if segmentation and not sum(rle_counts(segmentation['counts'])[1::2]):
        return None
    return item._replace(box=box, segmentation=segmentation,
                         ignored=item.ignored or visible < min_visible)


def _slice_segmentation(item: Annotation, tile: Tile) -> dict | None:
    """The part of a segmentation that a tile holds, as RLE."""
    if not item.segmentation:
        return None
    from pycocotools import mask as coco
    if isinstance(item.segmentation, dict):
        inside = _slice_rle(item.segmentation, tile)
    else:
        moved = [[value - (tile.top if index % 2 else tile.left)
                  for index, value in enumerate(polygon)]
                 for polygon in item.segmentation]
        inside = decode_mask(item._replace(segmentation=moved),
                             tile.bottom - tile.top, tile.right - tile.left)
    runs = coco.encode(np.asfortranarray(inside, np.uint8))
    return dict(size=list(runs['size']), counts=runs['counts'].decode())


def _slice_rle(runs: dict, tile: Tile) -> np.ndarray:
    """Pixels of a tile; of a large image, only its columns are decoded."""
    height = runs['size'][0]
    ends = np.cumsum(rle_counts(runs['counts'])).clip(
        tile.left * height, tile.right * height)
    lengths = np.diff(ends, prepend=tile.left * height)
    columns = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return columns.reshape(-1, height).T[tile.top:tile.bottom]


def _write(tiles: Sequence[tuple[Tile, AnnotatedImage]], path: str,
           folder: Path, check: Callable[[], None]) -> None:
    pixels = read_scene(path)
    for tile, part in tiles:
        check()
        file = folder / part.name
        file.parent.mkdir(parents=True, exist_ok=True)
        kind = 'JPEG' if file.suffix.lower() in JPEG else 'PNG'
        # A process of a killed command may still write the same tile.
        with atomic_write(file, f'.{os.getpid()}{PART}') as unfinished:
            Image.fromarray(tile.cut(pixels)).save(unfinished, kind,
                                                   quality=95)


def read_scene(path: str) -> np.ndarray:
    """Read an image of any size as RGB, as trainings do by default."""
    return read(path, OPENCV)[..., ::-1]
