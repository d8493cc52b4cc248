"""Files of boxes and of labels, a line for each frame."""
from pathlib import Path

import numpy as np

from ..datasets.checks.coco_annotations import LARGEST
from ..datasets.paths import check_names, read_text
from ..errors import UserError, shown

SHOWN_LENGTH = 40


def read_boxes(path: str | Path) -> np.ndarray:
    """Read a box from each line, its numbers apart by commas or blanks."""
    lines = _lines(path)
    boxes, broken = [], []
    for number, line in enumerate(lines, 1):
        try:
            box = [float(word) for word in line.replace(',', ' ').split()]
        except ValueError:
            box = []
        if len(box) == 4:
            boxes.append(box)
        else:
            broken.append((number, line))
    if broken:
        number, line = broken[0]
        raise UserError(
            f'{path}: {len(broken)} of {len(lines)} lines are no box, the '
            f'first is line {number}, {line[:SHOWN_LENGTH]!r}. A line has '
            'left, top, width and height')
    return np.array(boxes, float).reshape(-1, 4)


def read_labels(path: str | Path, count: int) -> np.ndarray:
    """Read whole numbers, one for each frame, by line or by comma."""
    words = ' '.join(_lines(path)).replace(',', ' ').split()
    labels = np.array([_label(word, path) for word in words], int)
    if len(labels) != count:
        raise UserError(f'{path} holds {len(labels)} numbers for {count} '
                        'frames')
    return labels


def read_names(path: str | Path) -> list[str]:
    """Read names of videos, a line each."""
    names = [line.strip() for line in _lines(path) if line.strip()]
    if not names:
        raise UserError(f'{path} names no video')
    check_names(names, path)
    return names


def _label(word: str, path: str | Path) -> int:
    try:
        number = float(word)
    except ValueError:
        number = float('nan')
    if not abs(number) < LARGEST:
        raise UserError(f'{path}: {shown(repr(word), SHOWN_LENGTH)} is no '
                        'number; it has to hold a number for each frame')
    return int(number)


def _lines(path: str | Path) -> list[str]:
    return read_text(path).strip().splitlines()
