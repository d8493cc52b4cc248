"""Choose the images that are worth labeling next."""
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...utils.files import atomic_write
from ...utils.images import SIMILAR, difference_hash, hash_distances
from ..result_lines import read_lines

LIST = 'uncertain.txt'
# Of the most uncertain images, so many times the wanted number are compared.
COMPARED = 10


def uncertainty(records: Sequence[dict]) -> float:
    """How uncertain the predictions for an image are.

    For classes it is the margin between the two highest scores p1 and p2,
    ``(1 - (p1 - p2))^2``. Boxes have one score each, so p2 is that of the
    background, 1 - p1, and the sum over the boxes counts: "1-vs-2" and its
    aggregation by the sum in Brust, Käding, Denzler: Active Learning for Deep
    Object Detection, VISAPP 2019, https://arxiv.org/abs/1809.09875.
    """
    total = 0.
    for record in records:
        if 'bbox' in record:
            total += (1 - abs(2 * record['score'] - 1)) ** 2
        elif record.get('predictions'):
            best, second, *_ = *(item['score'] for item in
                                 record['predictions']), 0.
            total += (1 - (best - second)) ** 2
        else:
            raise UserError('--uncertain needs scores of boxes or classes, '
                            'which this model does not predict')
    return total


def most_uncertain(lines: Path, paths: Sequence[str], number: int
                   ) -> dict[int, float]:
    """The most uncertain images by position, the first most.

    One that looks like another one of them comes only if others are too few.
    """
    found = np.fromiter(
        ((position, uncertainty(content['predictions']))
         for position, content in read_lines(lines)),
        np.dtype([('position', np.int64), ('value', np.float64)]))
    # A list has a line for each path.
    found = found[np.argsort(-found['value'], kind='stable')]
    ranked = {position: value for position, value in map(
        np.void.item, found[:COMPARED * number])
        if len(paths[position].splitlines()) == 1}
    chosen: list[int] = []
    similar: list[int] = []
    hashes: list[np.ndarray] = []
    for position in ranked:
        if len(chosen) == number:
            break
        code = difference_hash(paths[position])
        if code is not None and hashes and (hash_distances(
                np.stack(hashes), code) <= SIMILAR).any():
            similar.append(position)
            continue
        chosen.append(position)
        if code is not None:
            hashes.append(code)
    return {position: ranked[position] for position in chain(
        chosen, similar[:number - len(chosen)])}


def write_list(folder: Path, paths: Sequence[str]) -> Path:
    """Write paths to a file, which tools/predict.py reads as input."""
    file = folder / LIST
    with atomic_write(file) as part:
        part.write_bytes(b''.join(os.fsencode(
            path if '://' in path else os.path.abspath(path)) + b'\n'
            for path in paths))
    return file
