"""Many objects of a video, each with an identity and a trail."""
from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import BaseDataElement, InstanceData
from PIL import Image

from ..config.mot_requirements import require_packages
from ..errors import UserError
from ..predict.predictor import Predictor
from ..predict.results import Detections, Result
from ..visualization.drawing import Boxes, colours, draw_boxes

# A line for each object of each frame, as MOTChallenge wants it.
TRACKS = 'tracks.txt'
# Neighbouring identities are to be told apart.
PALETTE = colours(32)
# Frames that a trail is long.
TRAIL = 40
# Of boxes less sure than this no tracker makes use.
LOW = 0.1


@dataclass
class Identified(Result):
    """The objects of a frame.

    Attributes:
        boxes (np.ndarray): ``(n, 4)``, left, top, right and bottom in pixels,
            float32.
        scores (np.ndarray): ``(n, )``, 0 to 1.
        labels (np.ndarray): ``(n, )``, indices of classes.
        identities (np.ndarray): ``(n, )``, numbers from 1, each of one object
            in all frames.
        trails (dict[int, np.ndarray]): By identity, where the object has been
            lately: ``(m, 2)``, the last place at the end.
    """

    task = 'tracking'
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    identities: np.ndarray
    trails: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def draw(self) -> Image.Image:
        """The frame with boxes in the colours of identities, and trails."""
        image = self.image.copy()
        for identity, points in self.trails.items():
            cv2.polylines(image, [points.round().astype(np.int32)], False,
                          _colour(identity), _thickness(image))
        texts = [f'{identity} {self.classes[label]}'.strip()
                 for identity, label in zip(self.identities, self.labels)]
        return draw_boxes(image, Boxes(
            torch.from_numpy(self.boxes),
            [identity % len(PALETTE) for identity in self.identities.tolist()],
            texts, [True] * len(self.boxes)), PALETTE)

    def json(self) -> list[dict]:
        """A record for each object."""
        return [
            dict(track_id=int(identity), **self._category(int(label)),
                 bbox=box, score=round(float(score), 4))
            for identity, label, box, score in zip(
                self.identities, self.labels, self._corners(), self.scores)]

    def lines(self, number: int) -> str:
        """The objects in MOTChallenge's format.

        Args:
            number (int): Of the frame, from 1.

        Returns:
            str: Frame, identity, left, top, width, height, score and three
            times -1, a line for each.
        """
        return ''.join(
            f'{number},{identity},{",".join(map(str, box))},{score:.4f},'
            '-1,-1,-1\n' for identity, box, score in zip(
                self.identities, self._corners(), self.scores))

    def _corners(self) -> list[list[float]]:
        """Left, top, width and height."""
        return [[round(float(value), 3) for value in
                 (left, top, right - left, bottom - top)]
                for left, top, right, bottom in self.boxes.astype(float)]

    def summary(self) -> str:
        """How many objects there are."""
        return f'{len(self.boxes)} objects'

    def without_image(self) -> Identified:
        """What may be kept of thousands of frames."""
        return replace(self, image=np.empty((0, 0, 3), np.uint8), trails={})


def _colour(identity: int) -> tuple:
    return PALETTE[identity % len(PALETTE)]


def _thickness(image: np.ndarray) -> int:
    return max(1, round(min(image.shape[:2]) / 200))


class Trails:
    """Where objects have been lately."""

    def __init__(self, length: int = TRAIL):
        self._length = length
        self._frame = 0
        self._places: dict[int, deque[tuple[int, np.ndarray]]] = {}

    def __call__(self, identities: Iterable[int], boxes: np.ndarray
                 ) -> dict[int, np.ndarray]:
        """Take in a frame."""
        self._frame += 1
        for identity, box in zip(identities, boxes):
            self._places.setdefault(identity, deque()).append(
                (self._frame, (box[:2] + box[2:]) / 2))
        oldest = self._frame - self._length
        for places in self._places.values():
            while places and places[0][0] <= oldest:
                places.popleft()
        self._places = {identity: places for identity, places in
                        self._places.items() if places}
        return {identity: np.array([place for _, place in places])
                for identity, places in self._places.items()}


def tracker_settings(sure: float) -> dict:
    """ByteTrack for a detector of any classes."""
    return dict(
        type='mmlowformer.ClassAgnosticByteTracker',
        motion=dict(type='mmdet.KalmanFilter'),
        obj_score_thrs=dict(high=sure, low=min(LOW, sure)),
        init_track_thr=min(sure + 0.1, (sure + 1) / 2),
        num_frames_retain=30)


class Identifier:
    """Gives the boxes of a video's frames identities."""

    def __init__(self, settings: dict):
        require_packages(settings)
        with DefaultScope.overwrite_default_scope('mmdet'):
            self._tracker = MODELS.build(dict(settings))
        self._trails = Trails()
        self._frame = 0

    def __call__(self, found: Detections) -> Identified:
        """Take in the next frame."""
        started = time.perf_counter()
        sample = BaseDataElement(metainfo=dict(frame_id=self._frame))
        sample.pred_instances = InstanceData(
            bboxes=torch.from_numpy(found.boxes),
            labels=torch.from_numpy(found.labels),
            scores=torch.from_numpy(found.scores))
        tracked = self._tracker.track(data_sample=sample)
        self._frame += 1
        boxes = tracked.bboxes.numpy()
        # It counts from 0.
        identities = tracked.instances_id.numpy().astype(int) + 1
        return Identified(
            found.name, found.image, found.classes, found.palette,
            found.seconds + time.perf_counter() - started, boxes,
            tracked.scores.numpy(), tracked.labels.numpy(), identities,
            self._trails(identities.tolist(), boxes))


def identify(predictor: Predictor, frames: Iterable[np.ndarray], name: str
             ) -> Iterator[Identified]:
    """Follow all objects of a video.

    The tracker is that of the predictor's config, or else ByteTrack with
    thresholds by the predictor's least score.

    Args:
        predictor (mmlowformer.Predictor): A detector. Boxes of any score are
            asked of it from now on.
        frames (Iterable[np.ndarray]): ``(h, w, 3)``, BGR.
        name (str): Of the video.

    Yields:
        Identified: For each frame.

    Raises:
        UserError: If the model finds no boxes, or a package is missing.
    """
    identifier = Identifier(predictor.tracker
                            or tracker_settings(predictor.score_thr))
    predictor.score_thr = 0.
    for position, answer in enumerate(predictor.stream(frames)):
        if answer.result is None:
            raise answer.error or UserError('nothing was predicted')
        if not isinstance(answer.result, Detections):
            raise UserError('--track is for detectors, and the checkpoint is '
                            f'of {answer.result.task}')
        if answer.position != position:
            raise UserError('frames are of several sizes, which can only be '
                            'followed with --batch-size 1')
        answer.result.name = name
        yield identifier(answer.result)
