"""Track all objects of a video."""
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import BaseDataElement, InstanceData
from PIL import Image

from ..config.requirements import require_packages
from ..errors import UserError
from ..predict.predictor import Predictor
from ..runtime.results import Detections, left_top_width_height
from ..utils.imports import lazy_names
from ..utils.text import counted
from ..visualization.drawing import Boxes, class_colors, draw_boxes
from .predict_sot import SOTResult

# A file in MOTChallenge's format, with a line for each object of a frame.
TRACKS = 'tracks.txt'
# Colors of consecutive identities.
PALETTE = class_colors(32)
# Length of a trace, in frames.
TRACE = 40
# Lowest score of a box that continues a track.
LOW_SCORE = 0.1

__getattr__ = lazy_names(__name__, Identified='MOTResult',
                        identify='track_objects')


@dataclass(kw_only=True)
class MOTResult(Detections):
    """The objects of a frame, detections with identities.

    Attributes:
        identities (np.ndarray): ``(n, )``, numbers from 1; an object keeps its
            number in all frames.
        traces (dict[int, np.ndarray]): Recent centers by identity, ``(m, 2)``,
            the last one at the end.
    """

    task = 'tracking'
    identities: np.ndarray
    traces: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def draw(self) -> Image.Image:
        """Draw boxes and traces in the colors of identities."""
        image = self.image.copy()
        widest = max(1, round(min(image.shape[:2]) / 200))
        sides = dict(zip(self.identities.tolist(), (
            self.boxes[:, 2:] - self.boxes[:, :2]).min(1, initial=np.inf)))
        for identity, points in self.traces.items():
            width = sides.get(identity, 0) / 12
            cv2.polylines(image, [points.round().astype(np.int32)], False,
                          PALETTE[identity % len(PALETTE)],
                          int(min(max(1, round(width)), widest)))
        texts = [f'{identity} {self.classes[label]}'.strip()
                 for identity, label in zip(self.identities, self.labels)]
        return draw_boxes(image, Boxes(
            self.boxes, (self.identities % len(PALETTE)).tolist(), texts,
            [True] * len(self), numbers=self.identities.tolist()), PALETTE)

    def json(self, masks: bool = True) -> list[dict]:
        """One record for each object."""
        return [
            dict(track_id=int(identity), **self._category(label),
                 bbox=box, score=round(float(score), 4))
            for identity, label, box, score in zip(
                self.identities, self.labels, self._rounded(), self.scores)]

    def lines(self, number: int) -> str:
        """The objects in MOTChallenge's format.

        Args:
            number (int): Number of the frame, from 1.

        Returns:
            str: One line for each object: frame, identity, left, top, width,
            height, score and three times -1.
        """
        return ''.join(
            f'{number},{identity},{",".join(map(str, box))},{score:.4f},'
            '-1,-1,-1\n' for identity, box, score in zip(
                self.identities, self._rounded(), self.scores))

    def _rounded(self) -> list[list[float]]:
        return [[round(value, 3) for value in left_top_width_height(box)]
                for box in self.boxes]

    def summary(self) -> str:
        """Count the objects."""
        return counted(len(self), 'object')

    def without_image(self) -> 'MOTResult':
        """Drop what thousands of frames have no memory for."""
        return replace(self, image=np.empty((0, 0, 3), np.uint8), traces={})


class Traces:
    """Recent centers of objects."""

    def __init__(self, length: int = TRACE):
        self._frames: deque[dict[int, np.ndarray]] = deque(maxlen=length)

    def __call__(self, identities: Iterable[int], boxes: np.ndarray
                 ) -> dict[int, np.ndarray]:
        """Add a frame, and return the traces."""
        centers = boxes.reshape(-1, 2, 2).mean(1)
        self._frames.append(dict(zip(identities, centers)))
        traces = defaultdict(list)
        for frame in self._frames:
            for identity, center in frame.items():
                traces[identity].append(center)
        return {identity: np.array(trace)
                for identity, trace in traces.items()}


def mot_result(tracked: InstanceData, traces: Traces, **common) -> MOTResult:
    """Convert MMDetection's objects of a frame to a result."""
    tracked = tracked.cpu().numpy()
    # MMDetection counts identities from 0.
    identities = tracked.instances_id.astype(int) + 1
    return MOTResult(
        boxes=tracked.bboxes, scores=tracked.scores, labels=tracked.labels,
        identities=identities,
        traces=traces(identities.tolist(), tracked.bboxes), **common)


def tracker_settings(score_thr: float) -> dict:
    """ByteTrack's config for a detector of any classes."""
    return dict(
        type='mmlowformer.ClassAgnosticByteTracker',
        motion=dict(type='mmdet.KalmanFilter'),
        obj_score_thrs=dict(high=score_thr, low=min(LOW_SCORE, score_thr)),
        init_track_thr=min(score_thr + 0.1, (score_thr + 1) / 2),
        num_frames_retain=30)


class MultiObjectTracker:
    """Assigns identities to the boxes of a video's frames."""

    def __init__(self, settings: dict):
        require_packages(settings)
        with DefaultScope.overwrite_default_scope('mmdet'):
            self._tracker = MODELS.build(dict(settings))
        # Most of mmdet is imported by now.
        from .track_memory import limit_history
        limit_history(self._tracker)
        self._traces = Traces()
        self._frame = 0

    def __call__(self, detections: Detections) -> MOTResult:
        """Track the boxes of the next frame."""
        started = time.perf_counter()
        sample = BaseDataElement(metainfo=dict(frame_id=self._frame))
        sample.pred_instances = InstanceData(
            bboxes=torch.from_numpy(detections.boxes),
            labels=torch.from_numpy(detections.labels),
            scores=torch.from_numpy(detections.scores))
        tracked = self._tracker.track(data_sample=sample)
        self._frame += 1
        return mot_result(
            tracked, self._traces, name=detections.name,
            image=detections.image, classes=detections.classes,
            palette=detections.palette,
            seconds=detections.seconds + time.perf_counter() - started)


def track_objects(predictor: Predictor, frames: Iterable[np.ndarray],
                  name: str) -> Iterator[MOTResult]:
    """Track all objects of a video.

    The tracker is that of the predictor's config, or else ByteTrack with
    thresholds from the predictor's ``score_thr``.

    Args:
        predictor (mmlowformer.Predictor): A detector. Its ``score_thr``
            becomes 0.
        frames (Iterable[np.ndarray]): ``(h, w, 3)``, BGR.
        name (str): Name of the video.

    Yields:
        MOTResult: One for each frame.

    Raises:
        UserError: If the model predicts no boxes, or a package is missing.
    """
    tracker = MultiObjectTracker(predictor.tracker
                                 or tracker_settings(predictor.score_thr))
    predictor.score_thr = 0.
    for position, item in enumerate(predictor.stream(frames)):
        result = item.get()
        if not isinstance(result, Detections):
            raise UserError('--track is for detectors, and the checkpoint is '
                            f'of {result.task}')
        if item.position != position:
            raise UserError('frames of several sizes need --batch-size 1')
        yield tracker(replace(result, name=name))


class TrackSummary:
    """Counts what is said in the end, of one object or of all."""

    def __init__(self) -> None:
        self.frames = self.uncertain = 0
        self.seconds = 0.
        self.identities: set[int] | None = None

    def add(self, result: SOTResult | MOTResult) -> None:
        self.frames += 1
        self.seconds += result.seconds
        if isinstance(result, SOTResult):
            self.uncertain += not result.is_confident
        else:
            self.identities = self.identities or set()
            self.identities.update(result.identities.tolist())

    def __str__(self) -> str:
        text = (f'{self.uncertain} uncertain (dashed)'
                if self.identities is None else
                counted(len(self.identities), 'object'))
        return (f'{self.frames} frames, {self.frames / self.seconds:.1f} per '
                f'second in the model; {text}.')
