"""From the feature maps of a detector's head to boxes, as in MMDetection."""
import numpy as np


def decode_boxes(scores: list[np.ndarray], deltas: list[np.ndarray],
                 decoding: dict, size: tuple[int, int]
                 ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores and labels of an image before NMS."""
    found = [_level(*maps, level, decoding) for maps, level in zip(
        zip(scores, deltas), decoding['levels'])]
    boxes, kept, labels = (np.concatenate(parts) for parts in zip(*found))
    limit = np.array([size[1], size[0]] * 2, np.float32)
    boxes = boxes.clip(0, limit) if decoding['clip'] else boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    large = (sides > decoding['min_size']).all(1)
    return boxes[large], kept[large], labels[large]


def _level(scores: np.ndarray, deltas: np.ndarray, level: dict,
           decoding: dict) -> tuple[np.ndarray, ...]:
    classes = decoding['classes']
    flat = _sigmoid(scores.transpose(1, 2, 0).reshape(-1))
    places = np.flatnonzero(flat > decoding['score_thr'])
    best = places[(-flat[places]).argsort(kind='stable')[:decoding['nms_pre']]]
    anchors, labels = np.divmod(best, classes)
    priors = _anchors(anchors, scores.shape[2], level)
    chosen = deltas.transpose(1, 2, 0).reshape(-1, 4)[anchors]
    return _apply_deltas(priors, chosen, decoding), flat[best], labels


def _sigmoid(values: np.ndarray) -> np.ndarray:
    # float32 overflows beyond 88, with a warning.
    return 1 / (1 + np.exp(-values.clip(-80, 80)))


def _anchors(indices: np.ndarray, columns: int, level: dict) -> np.ndarray:
    base = np.array(level['anchors'], np.float32)
    cells, kinds = np.divmod(indices, len(base))
    rows, places = np.divmod(cells, columns)
    x, y = places * level['stride'][0], rows * level['stride'][1]
    return base[kinds] + np.stack((x, y, x, y), 1).astype(np.float32)


def _apply_deltas(anchors: np.ndarray, deltas: np.ndarray, decoding: dict
                  ) -> np.ndarray:
    """Shift the centers and scale the sides of anchors ``(n, 4)``."""
    deltas = deltas * np.array(decoding['stds'], np.float32) + np.array(
        decoding['means'], np.float32)
    centers = (anchors[:, :2] + anchors[:, 2:]) * np.float32(0.5)
    sides = anchors[:, 2:] - anchors[:, :2]
    most = np.float32(decoding['max_log_ratio'])
    centers = centers + sides * deltas[:, :2]
    halves = sides * np.exp(deltas[:, 2:].clip(-most, most)) * np.float32(0.5)
    return np.concatenate((centers - halves, centers + halves), 1)


def nms(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray,
        threshold: float, most: int) -> np.ndarray:
    """Non-maximum suppression for each class; the indices to keep."""
    order = (-scores).argsort(kind='stable')
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept: list[int] = []
    while len(order) and len(kept) < most:
        first, order = order[0], order[1:]
        kept.append(int(first))
        corner = np.maximum(boxes[first, :2], boxes[order, :2])
        opposite = np.minimum(boxes[first, 2:], boxes[order, 2:])
        intersection = (opposite - corner).clip(0).prod(1)
        iou = intersection / (areas[first] + areas[order] - intersection)
        order = order[(iou <= threshold)
                      | (labels[order] != labels[first])]
    return np.array(kept, np.int64)
