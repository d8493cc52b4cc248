"""Tiles that cover an image."""
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..errors import UserError


class Tile(NamedTuple):
    """A part of an image, from ``top`` and ``left`` to before the others."""

    top: int
    left: int
    bottom: int
    right: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Copy the part of an array ``(h, w, ...)``."""
        return np.ascontiguousarray(
            image[self.top:self.bottom, self.left:self.right])

    def cut_out(self, values: Tensor, frame: 'Tile | None' = None) -> Tensor:
        """View the part of a tensor ``(..., h, w)`` of an image or a tile."""
        top, left = frame[:2] if frame else (0, 0)
        return values[..., self.top - top:self.bottom - top,
                      self.left - left:self.right - left]

    def common(self, other: 'Tile') -> 'Tile | None':
        """The part that both tiles share, if any."""
        part = Tile(max(self.top, other.top), max(self.left, other.left),
                    min(self.bottom, other.bottom),
                    min(self.right, other.right))
        empty = part.top >= part.bottom or part.left >= part.right
        return None if empty else part


def check_tiling(size: int, overlap: float) -> None:
    """Refuse tiles that are too small or overlap too much."""
    if size < 32:
        raise UserError(f'tile {size}: at least 32 pixels are needed')
    if not 0 <= overlap <= 0.9:
        raise UserError(f'overlap {overlap:g} has to be a fraction of the '
                        'tile, 0 to 0.9')


def tiles_of(height: int, width: int, size: int, overlap: float
             ) -> list[Tile]:
    """Cover an image with tiles of equal size and overlap, row by row.

    Only an image that is smaller than a tile has smaller tiles.
    """
    return [Tile(top, left, min(top + size, height), min(left + size, width))
            for top in _starts(height, size, overlap)
            for left in _starts(width, size, overlap)]


def _starts(length: int, size: int, overlap: float) -> list[int]:
    last = max(0, length - size)
    count = 1 + -(-last // max(1, int(size * (1 - overlap))))
    return [round(last * index / max(1, count - 1)) for index in range(count)]
