"""Write archives of tracks for the servers of GOT-10k and TrackingNet."""
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...utils.console import warn
from ...utils.files import atomic_write
from ..datasets.sot_datasets import BaseSOTDataset, GOT10k, TrackingNet
from ..saved_tracks import read_track

Files = Iterable[tuple[str, str]]


def _got10k(name: str, track: dict) -> Files:
    """A folder for each video: boxes, and seconds of each frame."""
    yield f'{name}/{name}_001.txt', _lines(track['pred_boxes'], '%.3f')
    yield f'{name}/{name}_time.txt', _lines(track['seconds'][:, None], '%.8f')


FORMATS: dict[type[BaseSOTDataset], Callable[[str, dict], Files]] = {
    GOT10k: _got10k, TrackingNet: lambda name, track: [
        (f'{name}.txt', _lines(track['pred_boxes'], '%.3f'))]}


# The parts that the servers evaluate.
TEST_PARTS: dict[type[BaseSOTDataset], tuple[str, str | list[str]]] = {
    GOT10k: ('split', 'test'), TrackingNet: ('chunks', ['TEST'])}


def _lines(values: np.ndarray, style: str) -> str:
    return ''.join(','.join(style % value for value in row) + '\n'
                   for row in values)


def check_submission(file: str, kind: type, dataset: dict) -> None:
    """Make sure that a server for the data set exists."""
    if not file.endswith('.zip'):
        raise UserError(f'--submission {file} has to end in .zip')
    if kind not in FORMATS:
        raise UserError(
            f'--submission: no server for {kind.__name__} is known, only for '
            + ' and '.join(item.__name__ for item in FORMATS))
    key, part = TEST_PARTS[kind]
    # Without one, the data set cannot be built, and says so.
    value = dataset.get(key, part)
    if (value if isinstance(value, str) else list(value)) != part:
        option = part if isinstance(part, str) else f'[{part[0]}]'
        warn(f'{file} will hold the tracks of {key}={value}, but the server '
             'evaluates the test set: --cfg-options '
             f'test_dataloader.dataset.{key}={option}')


def write_submission(dataset: BaseSOTDataset, folder: str | Path,
                     file: str | Path) -> int:
    """Write an archive of all videos, or none."""
    with (atomic_write(file) as part,
          zipfile.ZipFile(part, 'w', zipfile.ZIP_DEFLATED) as archive):
        for index in range(len(dataset)):
            record = dataset.get_data_info(index)
            track = _checked(record, folder)
            for name, text in FORMATS[type(dataset)](record['name'], track):
                archive.writestr(name, text)
    return len(dataset)


def _checked(record: dict, folder: str | Path) -> dict:
    name, frames = record['name'], len(record['frames'])
    track = read_track(folder, name)
    if track is None:
        raise UserError(f'the submission lacks video {name}: test it to its '
                        'end')
    boxes = track['pred_boxes']
    if boxes.shape != (frames, 4) or not np.isfinite(boxes).all():
        raise UserError(f'the track of {name} has the shape {boxes.shape} or '
                        f'NaN: each of its {frames} frames needs a box')
    return track
