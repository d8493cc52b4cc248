"""Large images and their annotations, cut into tiles."""
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..utils.images import OPENCV, read
from ..utils.tiles import Tile, tiles_of
from .checks.coco_annotations import rle_counts
from .formats.annotations import AnnotatedImage, Annotation
from .formats.image_folder import ImageFolder
from .polygon_masks import decode_mask


def slice_images(annotated: Sequence[AnnotatedImage], images: ImageFolder,
                 folder: Path, *, size: int, overlap: float,
                 min_visible: float, negatives: float, seed: int,
                 step: Callable[[], None]) -> list[AnnotatedImage]:
    """Write the tiles of images."""
    chance = random.Random(seed)
    result: list[AnnotatedImage] = []
    for image in annotated:
        tiles = [(tile, _slice(image, tile, min_visible)) for tile in
                 tiles_of(image.height, image.width, size, overlap)]
        chosen = [item for item in tiles if item[1].annotations]
        empty = [item for item in tiles if not item[1].annotations]
        kept = min(len(empty), round(negatives * max(1, len(chosen))))
        chosen = sorted(chosen + chance.sample(empty, kept),
                        key=lambda item: item[0])
        if chosen:
            _write(chosen, images.path(image.name), folder)
        result += [part for _, part in chosen]
        step()
    return result


def _slice(image: AnnotatedImage, tile: Tile, min_visible: float
           ) -> AnnotatedImage:
    stem, suffix = os.path.splitext(image.name)
    name = (f'{stem}_y{tile.top:05d}_x{tile.left:05d}'
            f'{suffix if suffix.lower() in (".jpg", ".jpeg") else ".png"}')
    annotations = [part for item in image.annotations
                   if (part := _slice_annotation(item, tile, min_visible))]
    return AnnotatedImage(name, tile.right - tile.left,
                          tile.bottom - tile.top, annotations,
                          dict(source=image.name,
                               offset=[tile.left, tile.top]))


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
           folder: Path) -> None:
    pixels = read_scene(path)
    for tile, part in tiles:
        file = folder / part.name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tile.cut(pixels)).save(file, quality=95)


def read_scene(path: str) -> np.ndarray:
    """Read an image of any size as RGB, as trainings do by default."""
    return read(path, OPENCV)[..., ::-1]
