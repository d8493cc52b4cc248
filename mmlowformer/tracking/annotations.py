"""Files of boxes and of labels, a line for each frame."""
from pathlib import Path

import numpy as np

from ..data.paths import check_regular
from ..errors import UserError, first_line

SHOWN_LENGTH = 40


def read_boxes(path: str | Path) -> np.ndarray:
    """Read a box from each line, its numbers apart by commas or blanks.

    Args:
        path (str | Path): The file.

    Returns:
        np.ndarray: ``(n, 4)``, left, top, width and height; NaN as it stands.

    Raises:
        UserError: If it is not there, or lines are no boxes.
    """
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
    """Read whole numbers, one for each frame, by line or by comma.

    Args:
        path (str | Path): The file.
        count (int): Number of frames.

    Returns:
        np.ndarray: ``(count, )``.

    Raises:
        UserError: If it is not there, or holds something else.
    """
    words = ' '.join(_lines(path)).replace(',', ' ').split()
    try:
        labels = np.array([int(float(word)) for word in words])
    except (ValueError, OverflowError) as error:
        raise UserError(f'{path}: {first_line(error)}; it has to hold a '
                        'number for each frame') from error
    if len(labels) != count:
        raise UserError(f'{path} holds {len(labels)} numbers for {count} '
                        'frames')
    return labels


def read_names(path: str | Path) -> list[str]:
    """Read names of videos, a line each.

    Args:
        path (str | Path): The file.

    Returns:
        list[str]: The names.

    Raises:
        UserError: If there are none.
    """
    names = _lines(path)
    if not names:
        raise UserError(f'{path} names no video')
    return names


def _lines(path: str | Path) -> list[str]:
    check_regular(path)
    try:
        text = Path(path).read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read: {first_line(error)}') \
            from error
    return text.strip().splitlines() if text.strip() else []
