"""From the outputs of an exported network to what is in an image."""
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .box_decoding import decode, suppress
from .model_spec import Description
from .results import Classification, Detections, Features, Result, Segmentation


class Geometry(NamedTuple):
    """How an image came to its size.

    Attributes:
        original (tuple[int, int]): Height and width that it had.
        scale (tuple[float, float]): By how much x and y were stretched.
        size (tuple[int, int]): Height and width without padding.
    """

    original: tuple[int, int]
    scale: tuple[float, float]
    size: tuple[int, int]


def find(description: Description, outputs: Mapping[str, np.ndarray],
         geometry: Geometry) -> Result:
    """What the outputs say about an image."""
    return FINDERS[description.task](description, outputs, geometry)


def _detections(description: Description, outputs: Mapping[str, np.ndarray],
                geometry: Geometry) -> Detections:
    if 'boxes' in outputs:
        found = outputs['labels'] >= 0
        boxes, scores, labels = (outputs[name][found] for name in
                                 ('boxes', 'scores', 'labels'))
        # Of an image that was padded to a size.
        boxes = boxes.clip(0, [*geometry.size[::-1]] * 2).astype(np.float32)
    else:
        boxes, scores, labels = _decoded(description, outputs, geometry)
    boxes = boxes * (1 / np.array(geometry.scale * 2)).astype(np.float32)
    return Detections(boxes=boxes, scores=scores, labels=labels,
                      classes=description.classes)


def _decoded(description: Description, outputs: Mapping[str, np.ndarray],
             geometry: Geometry) -> list[np.ndarray]:
    decoding = description.decoding
    levels = range(len(decoding['levels']))
    boxes, scores, labels = decode(
        [outputs[f'scores_{i}'] for i in levels],
        [outputs[f'deltas_{i}'] for i in levels], decoding, geometry.size)
    kept = suppress(boxes, scores, labels, decoding['iou_thr'],
                    decoding['max_dets'])
    return [boxes[kept], scores[kept], labels[kept]]


def _segmentation(description: Description,
                  outputs: Mapping[str, np.ndarray], geometry: Geometry
                  ) -> Segmentation:
    height, width = geometry.size
    logits = resized(outputs['logits'][:, :height, :width],
                     geometry.original, description.decoding['align_corners'])
    mask = logits.argmax(0) if len(logits) > 1 else (
        1 / (1 + np.exp(-logits[0])) > description.decoding['threshold'])
    return Segmentation(mask=mask.astype(np.int64), logits=logits,
                        classes=description.classes)


def _classification(description: Description,
                    outputs: Mapping[str, np.ndarray], geometry: Geometry
                    ) -> Classification:
    return Classification(scores=outputs['scores'],
                          classes=description.classes)


def _features(description: Description, outputs: Mapping[str, np.ndarray],
              geometry: Geometry) -> Features:
    return Features(maps=dict(outputs))


FINDERS: dict[str, Callable[..., Result]] = dict(
    detection=_detections, segmentation=_segmentation,
    classification=_classification, features=_features)


def resized(maps: np.ndarray, size: tuple[int, int],
            align_corners: bool = False) -> np.ndarray:
    """Bilinear, as torch does it."""
    if maps.shape[1:] == tuple(size):
        return maps
    for axis, length in ((1, size[0]), (2, size[1])):
        low, high, weight = _neighbours(maps.shape[axis], length,
                                        align_corners)
        weight = weight.reshape([-1 if i == axis else 1 for i in range(3)])
        maps = (maps.take(low, axis) * (1 - weight)
                + maps.take(high, axis) * weight)
    return maps


def _neighbours(old: int, new: int, align_corners: bool
                ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which two are mixed at each place, and the second one's part."""
    places: np.ndarray = np.arange(new, dtype=np.float32)
    if align_corners:
        places = places * np.float32((old - 1) / max(new - 1, 1))
    else:
        ratio = np.float32(old / new)
        places = ((places + np.float32(0.5)) * ratio
                  - np.float32(0.5)).clip(0)
    low = np.minimum(places.astype(np.int64), old - 1)
    return low, np.minimum(low + 1, old - 1), places - low
