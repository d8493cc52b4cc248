"""Differences between an export and its checkpoint, and their limits."""
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from ..runtime.results import Classification, Detections, Result, Segmentation
from ..utils.tensors import relative_error

Outputs = dict[str, np.ndarray]
# Largest difference of feature maps over the largest value. Rounding adds up
# with the number of positions in attention. Whole detectors were slightly
# above in runtimes of small devices.
SMALL_IMAGE, MAP_ERROR, MAP_ERROR_OF_LARGE = 512, 5e-6, 2e-5
EDGE_MAP_ERROR = 1e-5
# Of boxes in pixels, of scores from 0 to 1.
BOX_ERROR, BOX_ERROR_OF_LARGE, SCORE_ERROR = 1e-3, 4e-3, 1e-4
# Fraction of an image's pixels that may have another class.
PIXEL_ERROR = 1e-4


@dataclass
class Comparison:
    """The largest error of an output."""

    check: str
    # What it was compared on, for example "3 x 128x96".
    where: str
    # Infinite if shapes or numbers differ.
    error: float
    # None if the error does not decide.
    limit: float | None

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit."""
        return self.limit is None or self.error <= self.limit

    @property
    def share(self) -> float:
        """The error as a multiple of the limit."""
        return self.error / self.limit if self.limit else 0.

    def plain(self) -> dict:
        """Values for JSON, which has no infinity."""
        error = self.error if math.isfinite(self.error) else 'mismatch'
        return dict(asdict(self), error=error, passed=self.passed)


# Name, error and limit.
Errors = Iterator[tuple[str, float, float]]


def compare_outputs(ours: Outputs, theirs: Outputs, size: tuple[int, int],
                    map_error: float = MAP_ERROR) -> Errors:
    """Compare the outputs of two models for an image."""
    if 'boxes' in theirs:
        there = ours['labels'] >= 0
        yield from compare_boxes(
            {name: values[there] for name, values in ours.items()}, theirs)
        return
    limit = map_error if max(size) <= SMALL_IMAGE else MAP_ERROR_OF_LARGE
    for name, expected in theirs.items():
        yield name, relative_error(ours[name], expected), limit


def compare_boxes(ours: Outputs, theirs: Outputs) -> Errors:
    """Compare boxes one to one."""
    alike = np.array_equal(np.sort(ours['labels']), np.sort(theirs['labels']))
    yield 'labels', 0. if alike else math.inf, 0.5
    if not alike:
        return
    pairs = np.array(list(_pairs(ours, theirs)), int).reshape(-1, 2).T
    is_small = theirs['boxes'].max(initial=0) <= SMALL_IMAGE
    for name, limit in (
            ('boxes', BOX_ERROR if is_small else BOX_ERROR_OF_LARGE),
            ('scores', SCORE_ERROR)):
        differences = np.abs(ours[name][pairs[0]] - theirs[name][pairs[1]])
        yield name, float(differences.max(initial=0)), limit


def _pairs(ours: Outputs, theirs: Outputs) -> Iterator[tuple[int, int]]:
    """Pair the nearest boxes of a label; equal scores have no order."""
    free = list(range(len(ours['labels'])))
    for index, label in enumerate(theirs['labels']):
        mine = min((i for i in free if ours['labels'][i] == label),
                   key=lambda i: np.abs(ours['boxes'][i]
                                        - theirs['boxes'][index]).max())
        free.remove(mine)
        yield mine, index


def compare_results(ours: Result, theirs: Outputs) -> Errors:
    """Compare predictions for an image file."""
    if isinstance(ours, Detections):
        yield from compare_boxes(dict(
            boxes=ours.boxes, scores=ours.scores, labels=ours.labels), theirs)
    elif isinstance(ours, Segmentation):
        labels = theirs['logits'].argmax(0)
        same_size = labels.shape == ours.mask.shape
        yield ('pixels of another class', float(
            (labels != ours.mask).mean()) if same_size else math.inf,
            PIXEL_ERROR)
    elif isinstance(ours, Classification):
        same = ours.label == int(theirs['scores'].argmax())
        yield 'top-1', 0. if same else math.inf, 0.5
        yield 'scores', float(np.abs(
            ours.scores - theirs['scores']).max()), SCORE_ERROR
