"""Errors of a detector, by kind and size.

The kinds are those of Bolya et al., "TIDE: A General Toolbox for Identifying
Object Detection Errors", ECCV 2020.
"""
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

# What a prediction can be, and what a ground-truth object can be besides.
HIT = 'hit'
PREDICTION_KINDS = (HIT, 'classification', 'localization', 'both',
                    'duplicate', 'background')
MISSED = 'missed'
ERROR_KINDS = (*PREDICTION_KINDS[1:], MISSED)
IGNORED = -1
# IoU of a hit, and IoU up to which a prediction lies on background.
FOREGROUND, BACKGROUND = 0.5, 0.1
# COCO's sizes, by their upper limits in pixels.
SIZES = ('small', 'medium', 'large')
SIZE_LIMITS = (32**2, 96**2)
# COCO's recalls, at which precision is averaged.
RECALLS = np.linspace(0, 1, 101)
# Score thresholds to choose from.
THRESHOLDS = np.arange(100) / 100
NEVER = -np.inf


class Regions(NamedTuple):
    """Boxes or masks of one image."""

    shapes: Any  # boxes (n, 4) as x, y, width, height, or a list of RLEs
    labels: np.ndarray

    def areas(self) -> np.ndarray:
        """Areas in pixels."""
        if isinstance(self.shapes, np.ndarray):
            return self.shapes[:, 2:].prod(1)
        return np.asarray(coco_mask.area(self.shapes), float).reshape(-1)


class ImageErrors(NamedTuple):
    """What became of predictions and objects, for any score threshold.

    A prediction never depends on those of lower scores, so that one matching
    is enough for all thresholds.
    """

    scores: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray  # indices of PREDICTION_KINDS, or IGNORED
    sizes: np.ndarray
    # Of ground truth: the score of its hit, and the largest score of the
    # predictions that failed by class or place only.
    object_labels: np.ndarray
    object_sizes: np.ndarray
    hit_scores: np.ndarray
    near_scores: np.ndarray


def image_errors(predicted: Regions, scores: np.ndarray, truth: Regions,
                 crowds: Regions) -> ImageErrors:
    """Match predictions, in descending order of scores, with ground truth.

    Args:
        predicted: Predictions, the highest-scoring first.
        scores: Their scores.
        truth: The objects.
        crowds: Regions whose objects are not labeled one by one. Predictions
            in them are neither hits nor errors.
    """
    ious = _ious(predicted, truth)
    same = predicted.labels[:, None] == truth.labels
    owners = _matched(np.where(same, ious, 0))
    kinds = np.zeros(len(scores), np.int8)
    hit_scores = np.full(len(truth.labels), NEVER)
    near_scores = hit_scores.copy()
    in_crowd = _in_crowd(predicted, crowds)
    for index, owner in enumerate(owners):
        if owner >= 0:
            hit_scores[owner] = scores[index]
        elif in_crowd[index]:
            kinds[index] = IGNORED
        else:
            kind, near = _kind(ious[index], same[index])
            kinds[index] = PREDICTION_KINDS.index(kind)
            if near is not None:
                near_scores[near] = max(near_scores[near], scores[index])
    return ImageErrors(
        np.asarray(scores, np.float32), predicted.labels, kinds,
        _size(predicted.areas()), truth.labels, _size(truth.areas()),
        hit_scores.astype(np.float32), near_scores.astype(np.float32))


def _ious(ones: Regions, others: Regions, crowd: bool = False) -> np.ndarray:
    shape = len(ones.labels), len(others.labels)
    if not all(shape):
        return np.zeros(shape)
    return np.asarray(coco_mask.iou(ones.shapes, others.shapes,
                                    [crowd] * shape[1]))


def _matched(ious: np.ndarray) -> list[int]:
    """The object that each prediction hits, or -1."""
    ious, owners = ious.copy(), []
    for row in ious:
        best = int(row.argmax()) if len(row) else -1
        if best >= 0 and row[best] < FOREGROUND:
            best = -1
        if best >= 0:
            # Rows are views: a hit object is free for no later prediction.
            ious[:, best] = 0
        owners.append(best)
    return owners


def _in_crowd(predicted: Regions, crowds: Regions) -> np.ndarray:
    return ((_ious(predicted, crowds, crowd=True) > FOREGROUND)
            & (predicted.labels[:, None] == crowds.labels)).any(1)


def _kind(ious: np.ndarray, same: np.ndarray) -> tuple[str, int | None]:
    """Kind of an error, and the object that another class or place hits."""
    if not len(ious):
        return 'background', None
    of_class, of_others = np.where(same, ious, 0), np.where(same, 0, ious)
    best, other = int(of_class.argmax()), int(of_others.argmax())
    if BACKGROUND <= of_class[best] < FOREGROUND:
        return 'localization', best
    if of_others[other] >= FOREGROUND:
        return 'classification', other
    if of_class[best] >= FOREGROUND:
        return 'duplicate', None
    return 'background' if ious.max() <= BACKGROUND else 'both', None


def _size(areas: np.ndarray) -> np.ndarray:
    return np.searchsorted(SIZE_LIMITS, areas, 'right').astype(np.int8)


def combined(images: Iterable[ImageErrors]) -> ImageErrors:
    """The errors of many images as those of one."""
    return ImageErrors(*map(np.concatenate, zip(*images)))


def count_kinds(errors: ImageErrors, threshold: float) -> dict[str, list[int]]:
    """Number of errors of each kind for each size."""
    shown = errors.scores >= threshold
    counts = {kind: _per_size(errors.sizes[shown & (errors.kinds == index)])
              for index, kind in enumerate(PREDICTION_KINDS) if kind != HIT}
    counts[MISSED] = _per_size(errors.object_sizes[
        (errors.hit_scores < threshold) & (errors.near_scores < threshold)])
    return counts


def _per_size(sizes: np.ndarray) -> list[int]:
    return np.bincount(sizes, minlength=len(SIZES)).tolist()


def count_images(errors: ImageErrors, threshold: float) -> tuple[int, int]:
    """False alarms and objects without a hit."""
    alarms = (errors.scores >= threshold) & (errors.kinds > 0)
    return int(alarms.sum()), int((errors.hit_scores < threshold).sum())


class Curve(NamedTuple):
    """Precision and recall at descending score thresholds."""

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """Harmonic means of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / np.where(total, total, 1)

    def at(self, thresholds: np.ndarray) -> dict[str, np.ndarray]:
        """Values at other thresholds; no prediction has no precision."""
        index = np.searchsorted(-self.thresholds, -thresholds, 'right')
        return dict(
            threshold=thresholds,
            precision=np.append(np.nan, self.precision)[index],
            recall=np.append(0, self.recall)[index],
            F1=np.append(0, self.f1)[index])

    def best(self) -> tuple[float, float]:
        """Threshold of the largest F1 among THRESHOLDS, and that F1."""
        f1 = self.at(THRESHOLDS)['F1']
        plateau = np.flatnonzero(f1 == f1.max())
        # The middle is farthest from both ends.
        index = plateau[len(plateau) // 2]
        return float(THRESHOLDS[index]), float(f1[index])


def curve(errors: ImageErrors) -> Curve:
    """Precision and recall, over all classes."""
    counted = errors.kinds != IGNORED
    scores, hits = errors.scores[counted], errors.kinds[counted] == 0
    order = np.argsort(-scores, kind='stable')
    scores, hits = scores[order], hits[order]
    # Predictions of equal scores are above the same thresholds.
    last = np.append(np.diff(scores) != 0, True)[:len(scores)]
    found = hits.cumsum()[last]
    return Curve(scores[last], found / (np.flatnonzero(last) + 1),
                 found / max(1, len(errors.object_labels)))


def of_class(errors: ImageErrors, label: int) -> ImageErrors:
    """Predictions and objects of one class."""
    mine, objects = errors.labels == label, errors.object_labels == label
    return ImageErrors(*(values[mine] for values in errors[:4]),
                       *(values[objects] for values in errors[4:]))


def average_precision(errors: ImageErrors) -> float:
    """COCO's AP of one class at an IoU of 0.5; NaN without objects."""
    if not len(errors.object_labels):
        return np.nan
    points = curve(errors)
    # The best precision at this recall or a larger one.
    best = np.maximum.accumulate(points.precision[::-1])[::-1]
    index = np.searchsorted(points.recall, RECALLS)
    return float(np.append(best, 0)[index].mean())


def class_rows(errors: ImageErrors, classes: Sequence[str], threshold: float
               ) -> list[dict]:
    """AP50 and counts of each class that occurs."""
    rows = []
    for label, name in enumerate(classes):
        part = of_class(errors, label)
        if not len(part.object_labels) and not len(part.labels):
            continue
        alarms, misses = count_images(part, threshold)
        objects = len(part.object_labels)
        average = average_precision(part)
        rows.append(dict(
            name=name, AP50=None if np.isnan(average) else average,
            objects=objects, hits=objects - misses, false_positives=alarms,
            misses=misses))
    return rows
