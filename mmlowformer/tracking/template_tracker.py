"""One object, followed from frame to frame."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .crop_region import Region, clip
from .decoding import best_cells, boxes_at

if TYPE_CHECKING:
    from .tracker import LowFormerTracker


class Follower:
    """What is known about an object: its template and where it was last.

    Args:
        tracker (LowFormerTracker): In eval mode.
        image (np.ndarray): The first frame, ``(H, W, 3)``, BGR.
        box (Sequence[float]): Left, top, width and height of the object.

    Attributes:
        box (list[float]): Where the object was last.

    Raises:
        UserError: If the box has no area or lies outside of the image.
    """

    def __init__(self, tracker: LowFormerTracker, image: np.ndarray,
                 box: Sequence[float]):
        self.tracker = tracker
        self.box = check_box(box, image.shape[:2])
        region = Region.around(self.box, tracker.template_factor,
                               tracker.template_size)
        with torch.no_grad():
            self._template = tracker.encode(self._normalized(image, region))

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> tuple[list[float], float]:
        """Look for the object in the next frame.

        Args:
            image (np.ndarray): The frame, ``(H, W, 3)``, BGR.

        Returns:
            tuple[list[float], float]: Its box (left, top, width and height)
            and the largest score.
        """
        tracker = self.tracker
        region = Region.around(self.box, tracker.search_factor,
                               tracker.search_size)
        maps = tracker.search(self._normalized(image, region),
                              self._template)
        found = boxes_at(best_cells(maps[0] * tracker.window), maps)[0]
        # NaN has no place; the object stays where it was.
        if found.isfinite().all():
            height, width = image.shape[:2]
            self.box = clip(region.absolute(found.tolist()), height, width,
                            tracker.margin)
        return self.box, maps[0].max().item()

    def _normalized(self, image: np.ndarray, region: Region) -> Tensor:
        pixels = torch.from_numpy(region.cut(image)).to(self.tracker.device)
        return self.tracker.data_preprocessor.normalize(
            pixels.permute(2, 0, 1)[None])


def check_box(box: Sequence[float], size: tuple[int, int]) -> list[float]:
    """Make sure that there is something to follow."""
    values = [float(value) for value in box]
    text = ','.join(f'{value:g}' for value in values)
    if len(values) != 4 or not np.isfinite(values).all():
        raise UserError(f'the box {text} has to be four numbers: left, top, '
                        'width and height in pixels')
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise UserError(f'the box {text} has no area: width and height have '
                        'to be above 0')
    left, top = max(x, 0.), max(y, 0.)
    right, bottom = min(x + width, size[1]), min(y + height, size[0])
    if right <= left or bottom <= top:
        raise UserError(f'the box {text} lies outside of the image, which is '
                        f'{size[1]}x{size[0]}')
    return [left, top, right - left, bottom - top]
