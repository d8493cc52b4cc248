"""Large images and their boxes, cut into tiles."""
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..utils.images import OPENCV, read
from ..utils.tiles import Tile, tiles_of
from .checks.coco_annotations import run_lengths
from .formats.annotations import Picture, Shape
from .formats.image_folder import ImageFolder
from .polygon_masks import region


def cut_pictures(pictures: Sequence[Picture], images: ImageFolder,
                 folder: str | Path, *, size: int, overlap: float,
                 min_visible: float, negatives: float, seed: int,
                 step: Callable[[], None]) -> list[Picture]:
    """Write the tiles of images."""
    chance = random.Random(seed)
    result: list[Picture] = []
    for picture in pictures:
        cut = [(tile, _tile(picture, tile, min_visible)) for tile in
               tiles_of(picture.height, picture.width, size, overlap)]
        chosen = [item for item in cut if item[1].shapes]
        empty = [item for item in cut if not item[1].shapes]
        kept = round(negatives * max(1, len(chosen)))
        chosen += chance.sample(empty, min(len(empty), kept))
        chosen.sort(key=lambda item: item[0])
        _write(chosen, images.path(picture.name), Path(folder))
        result += [part for _, part in chosen]
        step()
    return result


def _tile(picture: Picture, tile: Tile, min_visible: float) -> Picture:
    stem, suffix = os.path.splitext(picture.name)
    name = (f'{stem}_y{tile.top:05d}_x{tile.left:05d}'
            f'{suffix if suffix.lower() in (".jpg", ".jpeg") else ".png"}')
    shapes = [part for shape in picture.shapes
              if (part := _part(shape, tile, min_visible))]
    return Picture(name, tile.right - tile.left, tile.bottom - tile.top,
                   shapes, dict(source=picture.name,
                                offset=[tile.left, tile.top]))


def _part(shape: Shape, tile: Tile, min_visible: float) -> Shape | None:
    left, top, right, bottom = shape.box
    box = (max(left, tile.left) - tile.left, max(top, tile.top) - tile.top,
           min(right, tile.right) - tile.left,
           min(bottom, tile.bottom) - tile.top)
    if box[0] >= box[2] or box[1] >= box[3]:
        return None
    seen = (box[2] - box[0]) * (box[3] - box[1])
    share = seen / ((right - left) * (bottom - top))
    moved = _moved(shape, tile)
    # In a tile may lie a corner of the box, and nothing of the object.
    if moved and not sum(run_lengths(moved['counts'])[1::2]):
        return None
    return shape._replace(
        box=box, ignored=shape.ignored or share < min_visible,
        segmentation=moved)


def _moved(shape: Shape, tile: Tile) -> dict | None:
    """The part of a segmentation that is in a tile, as run lengths."""
    if not shape.segmentation:
        return None
    from pycocotools import mask as coco
    if isinstance(shape.segmentation, dict):
        inside = _cut_runs(shape.segmentation, tile)
    else:
        moved = [[value - (tile.top if index % 2 else tile.left)
                  for index, value in enumerate(polygon)]
                 for polygon in shape.segmentation]
        inside = region(shape._replace(segmentation=moved),
                        tile.bottom - tile.top, tile.right - tile.left)
    runs = coco.encode(np.asfortranarray(inside, np.uint8))
    return dict(size=list(runs['size']), counts=runs['counts'].decode())


def _cut_runs(runs: dict, tile: Tile) -> np.ndarray:
    """Pixels of a tile; of a large scene, only its columns are decoded."""
    height = runs['size'][0]
    ends = np.cumsum(run_lengths(runs['counts'])).clip(
        tile.left * height, tile.right * height)
    lengths = np.diff(ends, prepend=tile.left * height)
    columns = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return columns.reshape(-1, height).T[tile.top:tile.bottom]


def _write(cut: Sequence[tuple[Tile, Picture]], path: str, root: Path
           ) -> None:
    if not cut:
        return
    image = read_scene(path)
    for tile, part in cut:
        file = root / part.name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tile.cut(image)).save(file, quality=95)


def read_scene(path: str) -> np.ndarray:
    """Read an image of any size, as trainings do by default."""
    return read(path, OPENCV)[..., ::-1]
