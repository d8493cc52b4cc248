"""Track one object of a video."""
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.model import BaseModel
from PIL import Image

from ..errors import UserError
from ..predict.predictor import Predictor
from ..predict.video import FRAMES_PER_SECOND, VideoReader
from ..runtime.results import Detections, Result, left_top_width_height
from ..visualization.drawing import Boxes, draw_boxes
from .datasets.frames import FrameFiles, images_in, read_frames
from .tracker import LowFormerTracker

RED = (214, 40, 40)
# Boxes with lower scores are dashed: the object may be hidden or gone.
SCORE_THR = 0.3
# A file with a line for each frame.
BOXES = 'boxes.txt'


@dataclass(kw_only=True)
class SOTResult(Result):
    """The object of a frame.

    Attributes:
        box (list[float]): Left, top, width and height in pixels.
        score (float): Score of the box, 0 to 1.
        score_thr (float): Boxes with lower scores are dashed.
    """

    task = 'tracking'
    box: list[float]
    score: float
    score_thr: float = SCORE_THR

    def draw(self) -> Image.Image:
        """Draw the box and its score."""
        left, top, width, height = self.box
        return draw_boxes(self.image, Boxes(
            [[left, top, left + width, top + height]], [0],
            [f'{self.score:.2f}'], [self.is_confident]), self.palette)

    def json(self, masks: bool = True) -> list[dict]:
        """One record."""
        return [dict(bbox=[round(value, 3) for value in self.box],
                     score=round(self.score, 4))]

    def summary(self) -> str:
        """The score."""
        return f'the object, score {self.score:.2f}'

    def lines(self, number: int) -> str:
        """The box in the format of GOT-10k's toolkit."""
        return ','.join(f'{value:.3f}' for value in self.box) + '\n'

    @property
    def is_confident(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.score >= self.score_thr

    def without_image(self) -> 'SOTResult':
        """Drop what thousands of frames have no memory for."""
        return replace(self, image=np.empty((0, 0, 3), np.uint8))


def require_tracker(module: BaseModel) -> LowFormerTracker:
    """Make sure that a model is a tracker."""
    if not isinstance(module, LowFormerTracker):
        raise UserError('--box is for a tracker, and the checkpoint is of a '
                        f'{type(module).__name__}')
    return module


def parse_box(text: str) -> list[float]:
    """Parse the box of a command line."""
    try:
        box = [float(word) for word in text.split(',')]
    except ValueError:
        box = []
    if len(box) != 4:
        raise UserError(f'--box {text} has to be x,y,w,h: left, top, width '
                        'and height in pixels of the first frame')
    return box


class Frames(NamedTuple):
    """The frames of a video, frames per second, and their number."""

    images: Iterable[np.ndarray]
    fps: float
    total: int | None


def open_frames(source: str) -> Frames:
    """Open a video, or a folder of frames."""
    if Path(source).is_dir():
        files = FrameFiles(source, images_in(source))
        return Frames(read_frames(files), FRAMES_PER_SECOND, len(files))
    video = VideoReader(source)
    return Frames(video, video.fps, video.total)


def draw_box(frame: np.ndarray) -> list[float]:
    """Let the user draw a box with the mouse."""
    # Without a display Qt would end this process, too.
    window = subprocess.run(
        [sys.executable, '-c', "import cv2; cv2.namedWindow('')"],
        capture_output=True)
    if window.returncode:
        raise UserError('--box window needs a display and an OpenCV that '
                        'opens windows: give x,y,w,h instead')
    box = cv2.selectROI('Draw a box around the object, then press Enter',
                        frame)
    cv2.destroyAllWindows()
    if not all(box[2:]):
        raise UserError('no box was drawn')
    return [float(value) for value in box]


def detect_box(frame: np.ndarray, checkpoint: str, **options) -> list[float]:
    """Detect the highest-scoring object, with a detector's checkpoint."""
    found = next(Predictor(checkpoint, **options).stream([frame])).get()
    if not isinstance(found, Detections) or not len(found):
        raise UserError(f'{checkpoint} detects nothing in the first frame: '
                        'give the object with --box')
    return left_top_width_height(found.boxes[0])


def track_object(tracker: LowFormerTracker, frames: Iterable[np.ndarray],
                 box: list[float], name: str, score_thr: float | None = None
                 ) -> Iterator[SOTResult]:
    """Track an object from its box in the first frame."""
    for frame, found, score, seconds in tracker.track(frames, box):
        yield SOTResult(
            name=name, image=frame[..., ::-1], classes=['object'],
            palette=[RED], seconds=seconds, box=found, score=score,
            score_thr=SCORE_THR if score_thr is None else score_thr)
