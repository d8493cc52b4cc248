"""Read files of boxes and of labels, with a line for each frame."""
from pathlib import Path

import numpy as np

from ...datasets.checks.coco_annotations import LARGEST
from ...datasets.paths import check_names, read_lines, read_text
from ...errors import UserError, shown

SHOWN_LENGTH = 40


def read_boxes(path: str | Path) -> np.ndarray:
    """Read a box from each line, separated by commas or blanks."""
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
            f'{path}: {len(broken)} of {len(lines)} lines are no box (left, '
            f'top, width, height), the first is line {number}, '
            f'{line[:SHOWN_LENGTH]!r}')
    return np.array(boxes, float).reshape(-1, 4)


def read_labels(path: str | Path, count: int) -> np.ndarray:
    """Read an integer for each frame, separated by lines or commas."""
    words = ' '.join(_lines(path)).replace(',', ' ').split()
    labels = np.array([_label(word, path) for word in words], int)
    if len(labels) != count:
        raise UserError(f'{path} holds {len(labels)} numbers for {count} '
                        'frames')
    return labels


def read_names(path: str | Path) -> list[str]:
    """Read names of videos, one in each line."""
    names = read_lines(path)
    check_names(names, path)
    return names


def _label(word: str, path: str | Path) -> int:
    try:
        number = float(word)
    except ValueError:
        number = float('nan')
    if not abs(number) < LARGEST:
        raise UserError(f'{path}: {shown(repr(word), SHOWN_LENGTH)} is no '
                        'number, but each frame needs one')
    return int(number)


def _lines(path: str | Path) -> list[str]:
    return read_text(path).strip().splitlines()
