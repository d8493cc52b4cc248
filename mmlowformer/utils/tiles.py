"""Tiles that cover an image."""
from typing import NamedTuple

import numpy as np
from torch import Tensor


class Tile(NamedTuple):
    """A part of an image.

    Attributes:
        top, left (int): Its place, in pixels.
        bottom, right (int): Where it ends.
    """

    top: int
    left: int
    bottom: int
    right: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part of an array ``(h, w, ...)``."""
        return np.ascontiguousarray(
            image[self.top:self.bottom, self.left:self.right])

    def cut_out(self, values: Tensor, frame: 'Tile | None' = None) -> Tensor:
        """A view of the part of a tensor ``(..., h, w)``."""
        top, left = frame[:2] if frame else (0, 0)
        return values[..., self.top - top:self.bottom - top,
                      self.left - left:self.right - left]

    def common(self, other: 'Tile') -> 'Tile | None':
        """What belongs to both, if anything does."""
        part = Tile(max(self.top, other.top), max(self.left, other.left),
                    min(self.bottom, other.bottom),
                    min(self.right, other.right))
        empty = part.top >= part.bottom or part.left >= part.right
        return None if empty else part


def tiles_of(height: int, width: int, size: int, overlap: float
             ) -> list[Tile]:
    """Tiles that cover an image, row by row.

    All are of the full size, unless the image is smaller, and overlap evenly.
    """
    return [Tile(top, left, min(top + size, height), min(left + size, width))
            for top in _starts(height, size, overlap)
            for left in _starts(width, size, overlap)]


def _starts(length: int, size: int, overlap: float) -> list[int]:
    last = max(0, length - size)
    count = 1 + -(-last // max(1, int(size * (1 - overlap))))
    return [round(last * index / max(1, count - 1)) for index in range(count)]
