"""Where in an image to look: squares around a box, and the way back."""
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np


class Region(NamedTuple):
    """A square of an image, and how many pixels it is resized to.

    Attributes:
        left (int): In pixels of the image, which it may leave.
        top (int): Likewise.
        side (int): Its side in the image.
        size (int): Its side after resizing.
    """

    left: int
    top: int
    side: int
    size: int

    @classmethod
    def around(cls, box: Sequence[float], factor: float,
               size: int) -> 'Region':
        """The square whose side is so many times that of a box."""
        x, y, width, height = box
        side = max(1, math.ceil(factor * math.sqrt(width * height)))
        return cls(round(x + width / 2 - side / 2),
                   round(y + height / 2 - side / 2), side, size)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The resized square, black where it leaves the image."""
        scale = self.size / self.side
        # The centres of pixels are at half of them.
        to_region = np.array([
            [scale, 0, (0.5 - self.left) * scale - 0.5],
            [0, scale, (0.5 - self.top) * scale - 0.5]])
        return cv2.warpAffine(image, to_region, (self.size, self.size))

    def relative(self, box: Sequence[float]) -> list[float]:
        """A box as fractions of the square."""
        x, y, width, height = box
        left, top = x - self.left, y - self.top
        return [value / self.side for value in
                (left, top, left + width, top + height)]

    def absolute(self, box: Sequence[float]) -> list[float]:
        """A predicted box in the image."""
        x, y, width, height = (value * self.side for value in box)
        return [self.left + x - width / 2, self.top + y - height / 2, width,
                height]


def clip(box: Sequence[float], height: int, width: int,
         margin: int) -> list[float]:
    """What of a box lies in an image, and never less than a margin."""
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
