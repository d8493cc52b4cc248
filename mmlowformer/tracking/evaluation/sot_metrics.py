"""Metrics of single-object tracking (SOT), like GOT-10k and LaSOT.

Boxes are ``(n, 4)``: left, top, width and height. Sources: the toolkits of
`GOT-10k <https://arxiv.org/abs/1810.11981>`_ and `LaSOT
<https://arxiv.org/abs/1809.07845>`_.
"""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.evaluator import BaseMetric

from ...registry import METRICS

# LaSOT's thresholds.
OVERLAPS = np.arange(21) / 20
PIXELS = np.arange(51)
SIZES = np.arange(51) / 100
# LaSOT's points on the curves of precision and normalized precision.
PIXELS_AT, SIZES_AT = 20, 0.2


@dataclass(frozen=True)
class Track:
    """IoUs of a video's frames (GOT-10k), and its curves (LaSOT)."""

    overlaps: np.ndarray
    success: np.ndarray
    precision: np.ndarray
    norm_precision: np.ndarray


def iou(boxes: np.ndarray, truth: np.ndarray,
        bound: tuple[float, float] | None = None) -> np.ndarray:
    """Intersection over union of each pair of boxes, clipped to an image."""
    if bound is not None:
        boxes, truth = (_bounded(item, bound) for item in (boxes, truth))
    low = np.maximum(boxes[:, :2], truth[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:],
                      truth[:, :2] + truth[:, 2:])
    common = np.maximum(high - low, 0).prod(1)
    union = boxes[:, 2:].prod(1) + truth[:, 2:].prod(1) - common
    return np.clip(common / (union + np.finfo(float).eps), 0, 1)


def _bounded(boxes: np.ndarray, bound: tuple[float, float]) -> np.ndarray:
    """Clip the corner first, and the size to the rest, like GOT-10k."""
    corners = np.clip(boxes[:, :2], 0, bound)
    return np.concatenate(
        [corners, np.clip(boxes[:, 2:], 0, bound - corners)], 1)


def evaluate_track(boxes: np.ndarray, truth: np.ndarray, visible: np.ndarray,
                   cover: np.ndarray, bound: tuple[float, float]) -> Track:
    """Compare a track with the ground truth."""
    counts = cover[1:] > 0
    overlaps = iou(boxes[1:], truth[1:], bound)[counts]
    boxes, truth = boxes[visible], truth[visible]
    distances = (boxes[:, :2] + boxes[:, 2:] / 2
                 - truth[:, :2] - truth[:, 2:] / 2)
    errors = np.hypot(*distances.T)
    norm_errors = np.hypot(*(distances / truth[:, 2:]).T)
    return Track(
        overlaps, (iou(boxes, truth)[:, None] > OVERLAPS).mean(0),
        (errors[:, None] <= PIXELS).mean(0),
        (norm_errors[:, None] <= SIZES).mean(0))


def summarize(tracks: Iterable[Track]) -> dict[str, float]:
    """Metrics of videos: GOT-10k's means of frames, and LaSOT's of videos."""
    tracks = list(tracks)
    overlaps = np.concatenate([track.overlaps for track in tracks])
    curves = mean_curves(tracks)
    return dict(
        AO=_mean(overlaps), **{
            f'SR_{level}': _mean(overlaps > level) for level in (0.5, 0.75)},
        success=float(curves['success'].mean()),
        precision=float(curves['precision'][PIXELS == PIXELS_AT][0]),
        norm_precision=float(
            curves['norm_precision'][np.isclose(SIZES, SIZES_AT)][0]))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float('nan')


def mean_curves(tracks: Iterable[Track]) -> dict[str, np.ndarray]:
    """Average LaSOT's curves over videos."""
    tracks = list(tracks)
    return {name: np.mean([getattr(track, name) for track in tracks], 0)
            for name in ('success', 'precision', 'norm_precision')}


def evaluate_sample(sample: dict) -> Track | None:
    """Compare a video's track with its ground truth, if that is known."""
    boxes, truth = sample['pred_boxes'], sample['boxes']
    if not np.isfinite(truth[1:]).all(1).any():
        return None
    # The video may end early.
    count = len(boxes)
    return evaluate_track(boxes, truth[:count], sample['visible'][:count],
                          sample['cover'][:count], sample['bound'])


@METRICS.register_module()
class TrackingMetric(BaseMetric):
    """GOT-10k's AO and SR, LaSOT's success and precision, and the speed.

    ``fps`` is the number of frames tracked in a second, without reading them,
    and the only metric of test sets without published ground truth.

    Args:
        collect_device (str): Device on which processes gather their results.
            Defaults to ``'cpu'``.
        prefix (str, optional): Prefix of the metrics' names. Defaults to
            ``'track'``.
    """

    default_prefix = 'track'

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Evaluate the videos of a batch from ``LowFormerTracker``."""
        for sample in data_samples:
            self.results.append(dict(
                name=sample['name'], seconds=sample['seconds'],
                attributes=sample['attributes'],
                track=evaluate_sample(sample)))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Summarize the results of all processes."""
        tracks = [item['track'] for item in results if item['track']]
        seconds = np.concatenate([item['seconds'][1:] for item in results])
        metrics = summarize(tracks) if tracks else {}
        return dict(metrics, fps=len(seconds) / max(seconds.sum(), 1e-9))
