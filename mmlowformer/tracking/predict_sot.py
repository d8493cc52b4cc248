"""One object of a video, followed by a trained tracker."""
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.model import BaseModel
from PIL import Image

from ..errors import UserError
from ..predict.results import Result
from ..predict.video import FRAMES_PER_SECOND, Video
from ..visualization.drawing import Boxes, draw_boxes
from .datasets import images_in
from .frames import FrameFiles
from .frames import Video as FrameVideo
from .tracker import LowFormerTracker

# The red of what is followed.
COLOUR = (214, 40, 40)
# Below this score a box is dashed: the object may be hidden or gone.
SURE = 0.3
# A line for each frame.
BOXES = 'boxes.txt'


@dataclass
class Tracked(Result):
    """Where the object is in a frame.

    Attributes:
        box (list[float]): Left, top, width and height in pixels.
        score (float): How sure that is, 0 to 1.
        score_thr (float): What is less sure is drawn dashed.
    """

    task = 'tracking'
    box: list[float]
    score: float
    score_thr: float = SURE

    def draw(self) -> Image.Image:
        """See ``Result``."""
        left, top, width, height = self.box
        return draw_boxes(self.image, Boxes(
            torch.tensor([[left, top, left + width, top + height]]), [0],
            [f'{self.score:.2f}'], [self.is_sure]),
            self.palette)

    def json(self) -> list[dict]:
        """See ``Result``."""
        return [dict(bbox=[round(value, 3) for value in self.box],
                     score=round(self.score, 4))]

    def summary(self) -> str:
        """See ``Result``."""
        return f'the object, score {self.score:.2f}'

    def lines(self, number: int) -> str:
        """The box as GOT-10k's toolkit writes it."""
        return ','.join(f'{value:.3f}' for value in self.box) + '\n'

    @property
    def is_sure(self) -> bool:
        """Whether the object was probably seen."""
        return self.score >= self.score_thr

    def without_image(self) -> 'Tracked':
        """What may be kept of thousands of frames."""
        return replace(self, image=np.empty((0, 0, 3), np.uint8))


def require_tracker(module: BaseModel) -> LowFormerTracker:
    """Make sure that a model follows objects."""
    if not isinstance(module, LowFormerTracker):
        raise UserError('--box is for a tracker, and the checkpoint is of a '
                        f'{type(module).__name__}')
    return module


def parse_box(text: str) -> list[float]:
    """The box of a command line."""
    try:
        box = [float(word) for word in text.split(',')]
    except ValueError:
        box = []
    if len(box) != 4:
        raise UserError(f'--box {text} has to be x,y,w,h: left, top, width '
                        'and height in pixels of the first frame')
    return box


class FrameFolder:
    """Images of a folder, taken for the frames of a video."""

    fps = FRAMES_PER_SECOND

    def __init__(self, folder: str):
        self._video = FrameVideo(FrameFiles(folder, images_in(folder)))
        self.total, self.frames = len(self._video), 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames ``(h, w, 3)`` in BGR."""
        for frame in self._video:
            self.frames += 1
            yield frame


def open_frames(source: str) -> Video | FrameFolder:
    """Open a video, or a folder of frames."""
    return FrameFolder(source) if Path(source).is_dir() else Video(source)


def draw_box(frame: np.ndarray) -> list[float]:
    """Let somebody draw a box with the mouse."""
    # Without a display Qt would end this process, too.
    window = subprocess.run(
        [sys.executable, '-c', "import cv2; cv2.namedWindow('')"],
        capture_output=True)
    if window.returncode:
        raise UserError('--box window needs a display, and an OpenCV that '
                        'opens windows: give x,y,w,h instead')
    box = cv2.selectROI('Draw a box around the object, then press Enter',
                        frame)
    cv2.destroyAllWindows()
    if not all(box[2:]):
        raise UserError('no box was drawn')
    return [float(value) for value in box]


def follow(tracker: LowFormerTracker, frames: Iterable[np.ndarray],
           box: list[float], name: str, score_thr: float | None = None
           ) -> Iterator[Tracked]:
    """Follow an object."""
    follower, least = None, SURE if score_thr is None else score_thr
    for frame in frames:
        started = time.perf_counter()
        if follower is None:
            follower = tracker.start(frame, box)
            found, score = follower.box, 1.
        else:
            found, score = follower(frame)
        yield Tracked(name, frame[..., ::-1], ['object'], [COLOUR],
                      time.perf_counter() - started, found, score, least)
