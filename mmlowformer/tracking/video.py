"""The frames of a video that lie in files."""
from collections.abc import Iterator, Sequence

import cv2
import mmcv
import numpy as np

from ..errors import UserError


class Video:
    """Reads frames one after the other, when they are needed.

    Args:
        paths (Sequence[str]): The files.
    """

    def __init__(self, paths: Sequence[str]):
        self.paths = paths

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames ``(H, W, 3)`` in BGR."""
        for index in range(len(self.paths)):
            yield read_frame(self.paths[index])


def read_frame(path: str) -> np.ndarray:
    """Read an image.

    Args:
        path (str): The file.

    Returns:
        np.ndarray: ``(H, W, 3)``, BGR.

    Raises:
        UserError: If it is not there or damaged.
    """
    try:
        image = mmcv.imread(path)
    except (OSError, cv2.error):
        image = None
    if image is None:
        raise UserError(f'frame {path} cannot be read: it is not there, '
                        'empty or damaged')
    return image
