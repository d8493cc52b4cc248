"""From the outputs of an exported model to predictions."""
from collections.abc import Mapping

import numpy as np

from .box_decoding import decode_boxes, nms
from .masks import label_dtype
from .model_spec import Description
from .preprocess import PreprocessedImage
from .results import Classification, Detections, Features, Result, Segmentation


def postprocess(description: Description, outputs: Mapping[str, np.ndarray],
                geometry: PreprocessedImage) -> Result:
    """Convert the outputs for an image to a result."""
    if description.task == 'detection':
        return _detections(description, outputs, geometry)
    if description.task == 'segmentation':
        return _segmentation(description, outputs, geometry)
    if description.task == 'classification':
        return Classification(scores=outputs['scores'],
                              classes=description.classes)
    return Features(maps=dict(outputs))


def _detections(description: Description, outputs: Mapping[str, np.ndarray],
                geometry: PreprocessedImage) -> Detections:
    if 'boxes' in outputs:
        found = outputs['labels'] >= 0
        boxes, scores, labels = (outputs[name][found] for name in
                                 ('boxes', 'scores', 'labels'))
        # Boxes may reach into the padding.
        boxes = boxes.clip(0, [*geometry.size[::-1]] * 2).astype(np.float32)
    else:
        boxes, scores, labels = _decoded(description, outputs, geometry)
    boxes = boxes * (1 / np.array(geometry.scale * 2)).astype(np.float32)
    return Detections(boxes=boxes, scores=scores, labels=labels,
                      classes=description.classes)


def _decoded(description: Description, outputs: Mapping[str, np.ndarray],
             geometry: PreprocessedImage) -> list[np.ndarray]:
    decoding = description.decoding
    levels = range(len(decoding['levels']))
    boxes, scores, labels = decode_boxes(
        [outputs[f'scores_{i}'] for i in levels],
        [outputs[f'deltas_{i}'] for i in levels], decoding, geometry.size)
    kept = nms(boxes, scores, labels, decoding['iou_thr'],
               decoding['max_dets'])
    return [boxes[kept], scores[kept], labels[kept]]


def _segmentation(description: Description,
                  outputs: Mapping[str, np.ndarray],
                  geometry: PreprocessedImage) -> Segmentation:
    height, width = geometry.size
    logits = resize_maps(
        outputs['logits'][:, :height, :width], geometry.original,
        description.decoding['align_corners'])
    mask = logits.argmax(0) if len(logits) > 1 else (
        1 / (1 + np.exp(-logits[0])) > description.decoding['threshold'])
    return Segmentation(
        mask=mask.astype(label_dtype(len(description.classes))),
        logits=logits, classes=description.classes)


def resize_maps(maps: np.ndarray, size: tuple[int, int],
                align_corners: bool = False) -> np.ndarray:
    """Bilinear interpolation as in torch, without antialiasing."""
    if maps.shape[1:] == tuple(size):
        return maps
    for axis, length in ((1, size[0]), (2, size[1])):
        low, high, weight = _neighbors(maps.shape[axis], length,
                                       align_corners)
        weight = weight.reshape([-1 if i == axis else 1 for i in range(3)])
        maps = (maps.take(low, axis) * (1 - weight)
                + maps.take(high, axis) * weight)
    return maps


def _neighbors(old: int, new: int, align_corners: bool
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices to interpolate between, and the weight of the second."""
    places: np.ndarray = np.arange(new, dtype=np.float32)
    if align_corners:
        places = places * np.float32((old - 1) / max(new - 1, 1))
    else:
        ratio = np.float32(old / new)
        places = ((places + np.float32(0.5)) * ratio
                  - np.float32(0.5)).clip(0)
    low = np.minimum(places.astype(np.int64), old - 1)
    return low, np.minimum(low + 1, old - 1), places - low
