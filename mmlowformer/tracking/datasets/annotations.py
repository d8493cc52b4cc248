"""Read files of boxes and of labels, with a line for each frame."""
from pathlib import Path

import numpy as np

from ...datasets.formats.annotations import number
from ...datasets.paths import check_names, read_lines, read_text
from ...errors import AnnotationErrors, UserError


def read_boxes(path: str | Path) -> np.ndarray:
    """Read a box from each line, separated by commas or blanks."""
    boxes, errors = [], AnnotationErrors()
    for index, line in enumerate(_lines(path), 1):
        try:
            box = [float(word) for word in line.replace(',', ' ').split()]
        except ValueError:
            box = []
        if len(box) != 4:
            errors.add('line that is no box (left, top, width, height)',
                       f'line {index}, {line!r}')
        boxes.append(box)
    errors.check(str(path))
    return np.array(boxes, float).reshape(-1, 4)


def read_labels(path: str | Path, count: int) -> np.ndarray:
    """Read an integer for each frame, separated by lines or commas."""
    words = ' '.join(_lines(path)).replace(',', ' ').split()
    try:
        labels = np.array([int(number(word)) for word in words], int)
    except ValueError as error:
        raise UserError(f'{path}: {error}, but each frame needs one'
                        ) from error
    if len(labels) != count:
        raise UserError(f'{path} holds {len(labels)} numbers for {count} '
                        'frames')
    return labels


def read_names(path: str | Path) -> list[str]:
    """Read names of videos, one in each line."""
    names = read_lines(path)
    check_names(names, path)
    return names


def _lines(path: str | Path) -> list[str]:
    return read_text(path).strip().splitlines()
