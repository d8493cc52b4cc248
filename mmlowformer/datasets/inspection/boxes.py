"""Inspect images with boxes."""
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from PIL import Image

from ...errors import AnnotationErrors
from ...utils.tiles import Tile
from ...visualization import drawing
from ..formats import AnnotatedImage, Annotation, ImageFolder
from ..tiling import read_scene
from .anchor_fit import against_anchors
from .report import (
    MOST_SHOWN,
    Inspection,
    describe_sizes,
    evenly_spaced,
    hidden_note,
)
from .settings import box_sizes

# Boxes that would be smaller in the preview are shown in crops of this side,
# at full resolution.
SMALLEST_SHOWN, CROP = 12, 400
# A crop that holds less of a box leaves it out.
LEAST_SHOWN = 0.1


class _Drawer(NamedTuple):
    """Draws images with the colors of their classes."""

    images: ImageFolder
    numbers: dict[str, int]  # of the classes
    palette: list[tuple]

    def draw(self, pixels: np.ndarray, items: Sequence[Annotation]
             ) -> Image.Image:
        """Draw boxes."""
        names = [item.label for item in items]
        return drawing.draw_boxes(pixels, drawing.Boxes(
            np.array([item.box for item in items]).reshape(-1, 4),
            [self.numbers[name] for name in names], names,
            [not item.ignored for item in items], names), self.palette)

    def whole(self, image: AnnotatedImage) -> Image.Image:
        """Draw an image and all of its boxes."""
        return self.draw(read_scene(self.images.path(image.name)),
                         image.annotations)

    def crops(self, image: AnnotatedImage, most: int
              ) -> Iterator[tuple[str, Image.Image]]:
        """Draw the surroundings of some boxes, with captions."""
        pixels = read_scene(self.images.path(image.name))
        for tile in _crops_of(image, most):
            yield (f'{image.name} at {tile.left}, {tile.top}',
                   self.draw(tile.cut(pixels), _items_in(image, tile)))


def inspect_boxes(annotated: Sequence[AnnotatedImage], classes: Sequence[str],
                  images: ImageFolder, errors: AnnotationErrors,
                  cfg: Config | None, step: Callable[[], None]) -> Inspection:
    """Inspect images with boxes."""
    boxes = [item for image in annotated for item in image.annotations]
    counts = Counter(item.label for item in boxes)
    per_image = [len(image.annotations) for image in annotated] or [0]
    empty = sum(not image.annotations for image in annotated)
    lines = [
        ('Images', f'{len(annotated)} in {images.folder}, '
         f'{describe_sizes(annotated)}, {empty} without boxes'
         f'{hidden_note(images)}'),
        ('Boxes', f'{len(boxes)}, {sum(item.ignored for item in boxes)} of '
         f'them ignored; median {median(per_image):g} per image, at most '
         f'{max(per_image)}'),
        *against_anchors(annotated, cfg)]
    drawer = _Drawer(
        images, {name: number for number, name in enumerate(classes)},
        drawing.class_colors(len(classes)))
    return Inspection(
        lines, {name: counts[name] for name in classes}, errors,
        *_preview(annotated, drawer, step))


def _preview(annotated: Sequence[AnnotatedImage], drawer: _Drawer,
             step: Callable[[], None]
             ) -> tuple[list[tuple[str, Image.Image]], int]:
    """Panels and the side of a panel: whole images, or crops of scenes."""
    panels: list[tuple[str, Image.Image]] = []
    sizes = box_sizes(annotated)
    crops = sizes is not None and (
        sizes.below(SMALLEST_SHOWN, drawing.SHEET_SIDE) > 0.5)
    chosen = evenly_spaced([image for image in annotated
                            if image.annotations or not crops])
    for image in chosen:
        if crops:
            panels += drawer.crops(image, -(-MOST_SHOWN // len(chosen)))
        else:
            panels.append((image.name, drawer.whole(image)))
        step()
    return panels[:MOST_SHOWN], (
        drawing.side_of(CROP) if crops else drawing.SHEET_SIDE)


def _crops_of(image: AnnotatedImage, most: int) -> list[Tile]:
    """Parts of an image around boxes that no earlier part holds."""
    tiles: list[Tile] = []
    step = max(1, len(image.annotations) // most)
    order = [item for start in range(step)
             for item in image.annotations[start::step]]
    for item in order:
        x, y = ((item.box[index] + item.box[index + 2]) / 2
                for index in range(2))
        if len(tiles) == most:
            break
        if not any(tile.left <= x < tile.right and tile.top <= y < tile.bottom
                   for tile in tiles):
            left, top = (
                round(min(max(0, middle - CROP / 2), max(0, length - CROP)))
                for middle, length in ((x, image.width), (y, image.height)))
            tiles.append(Tile(top, left, min(top + CROP, image.height),
                              min(left + CROP, image.width)))
    return tiles


def _items_in(image: AnnotatedImage, tile: Tile) -> list[Annotation]:
    """The boxes that a part of an image holds, in its pixels."""
    boxes = np.array([item.box for item in image.annotations]).reshape(-1, 4)
    low, high = (np.array(corner) for corner in (
        (tile.left, tile.top), (tile.right, tile.bottom)))
    inside = np.hstack([boxes[:, :2].clip(low, high),
                        boxes[:, 2:].clip(low, high)]) - np.tile(low, 2)
    areas, seen = ((part[:, 2:] - part[:, :2]).prod(1)
                   for part in (boxes, inside))
    return [image.annotations[index]._replace(box=tuple(inside[index]))
            for index in np.flatnonzero(seen > LEAST_SHOWN * areas)]
