"""Square regions around a box, and boxes in an image."""
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import UserError


class Region(NamedTuple):
    """A square that may exceed the image, and its size after resizing."""

    left: int
    top: int
    side: int
    size: int

    @classmethod
    def around(cls, box: Sequence[float], factor: float,
               size: int) -> 'Region':
        """Center a square whose side is a multiple of the box's."""
        x, y, width, height = box
        side = max(1, math.ceil(factor * math.sqrt(width * height)))
        return cls(round(x + width / 2 - side / 2),
                   round(y + height / 2 - side / 2), side, size)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Cut and resize the square; it is black outside of the image."""
        scale = self.size / self.side
        # Pixel centers have coordinates of a half.
        to_region = np.array([
            [scale, 0, (0.5 - self.left) * scale - 0.5],
            [0, scale, (0.5 - self.top) * scale - 0.5]])
        return cv2.warpAffine(image, to_region, (self.size, self.size))

    def relative(self, box: Sequence[float]) -> list[float]:
        """Convert a box to corners as fractions of the square."""
        x, y, width, height = box
        left, top = x - self.left, y - self.top
        return [value / self.side for value in
                (left, top, left + width, top + height)]

    def absolute(self, box: Sequence[float]) -> list[float]:
        """Convert a predicted box to pixels of the image."""
        x, y, width, height = (value * self.side for value in box)
        return [self.left + x - width / 2, self.top + y - height / 2, width,
                height]


def check_box(box: Sequence[float], size: tuple[int, int]) -> list[float]:
    """Clip a first box to the image, or refuse it if nothing is left."""
    text = ','.join(f'{float(value):g}' for value in box)
    if len(box) != 4 or not np.isfinite(box).all():
        raise UserError(f'the box {text} has to be four numbers: left, top, '
                        'width and height in pixels')
    x, y, width, height = map(float, box)
    if width <= 0 or height <= 0:
        raise UserError(f'the box {text} has no area: width and height have '
                        'to be above 0')
    left, top = max(x, 0.), max(y, 0.)
    right, bottom = min(x + width, size[1]), min(y + height, size[0])
    if right <= left or bottom <= top:
        raise UserError(f'the box {text} lies outside of the image, which is '
                        f'{size[1]}x{size[0]}')
    return [left, top, right - left, bottom - top]


def clip(box: Sequence[float], height: int, width: int,
         margin: int) -> list[float]:
    """Clip a box to an image so that at least a margin remains."""
    x, y, box_width, box_height = box
    left, right = _clip_side(x, x + box_width, width, margin)
    top, bottom = _clip_side(y, y + box_height, height, margin)
    return [left, top, right - left, bottom - top]


def _clip_side(start: float, end: float, size: int,
               margin: int) -> tuple[float, float]:
    # An image may be smaller than the margin.
    margin = min(margin, size)
    start = min(max(start, 0.), float(size - margin))
    return start, max(min(end, float(size)), start + margin)
