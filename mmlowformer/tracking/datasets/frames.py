"""Frames of videos that are stored as image files."""
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...datasets.paths import IMAGES
from ...errors import UserError
from ...utils.images import OPENCV, read


class FrameFiles:
    """Paths of a video's frames, made when needed: there may be thousands."""

    def __init__(self, folder: str | Path, names: Sequence,
                 pattern: str = '{}'):
        self.folder, self.names, self.pattern = folder, names, pattern

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return os.path.join(self.folder,
                            self.pattern.format(self.names[index]))


def images_in(folder: str | Path) -> list[str]:
    """Names of a folder's images, sorted by their last number."""
    if not os.path.isdir(folder):
        raise UserError(f'folder of frames not found: {folder}')
    names = [entry.name for entry in os.scandir(folder)
             if entry.name.lower().endswith(IMAGES)
             and not entry.name.startswith('.') and entry.is_file()]
    if not names:
        raise UserError(f'{folder} holds no images')
    return sorted(names, key=lambda name: (
        int((re.findall(r'\d+', name) or [0])[-1]), name))


def read_frames(files: FrameFiles) -> Iterator[np.ndarray]:
    """Yield frames ``(H, W, 3)`` in BGR."""
    for index in range(len(files)):
        yield read(files[index], OPENCV)
