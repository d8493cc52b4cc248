"""The frames of a video that lie in files."""
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..utils.images import OPENCV, decode


class FrameFiles:
    """Paths of frames, of which a video may have many thousands."""

    def __init__(self, folder: str, names: Sequence, pattern: str = '{}'):
        self.folder, self.names, self.pattern = folder, names, pattern

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return os.path.join(self.folder,
                            self.pattern.format(self.names[index]))


class Video:
    """Reads frames one after the other, when they are needed."""

    def __init__(self, paths: FrameFiles):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames ``(H, W, 3)`` in BGR."""
        for index in range(len(self.paths)):
            yield read_frame(self.paths[index])


def read_frame(path: str) -> np.ndarray:
    """Read an image."""
    if not os.path.isfile(path):
        raise UserError(f'frame {path} cannot be read: it is not there, or '
                        'no regular file')
    return decode(Path(path).read_bytes(), OPENCV, f'frame {path}')
