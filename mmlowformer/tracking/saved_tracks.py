"""Tracks on disk, as soon as a video is finished."""
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..errors import UserError
from ..utils.files import atomic_write

RECORD = 'tracks.json'
# What a finished video needs not be followed again for.
KEYS = ('pred_boxes', 'pred_scores', 'seconds', 'bound')


class KeepTracks(Hook):
    """Writes the track of each video of a test."""

    def __init__(self, folder: str, checkpoint: str):
        self.folder = Path(folder)
        self.checkpoint = checkpoint

    def before_test(self, runner: Runner) -> None:
        """Note whose tracks they are."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            (self.folder / RECORD).write_text(
                json.dumps(_identity(self.checkpoint)))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        """Write those of a batch."""
        for sample in outputs or ():
            with (atomic_write(track_file(self.folder, sample.name)) as part,
                  part.open('xb') as file):
                np.savez(file, **{key: getattr(sample, key) for key in KEYS})


def track_file(folder: str | Path, name: str) -> Path:
    """Where the track of a video is."""
    return Path(folder, f'{name}.npz')


def read_track(folder: str | Path, name: str) -> dict | None:
    """The track of a video that was finished before."""
    file = track_file(folder, name)
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as content:
            return {key: content[key] for key in KEYS}
    # What NumPy and zipfile raise for damaged files has no end.
    except Exception as error:
        raise UserError(f'{file} is damaged: delete it, and its video is '
                        'followed again') from error


def start_over(folder: str | Path) -> None:
    """Delete the tracks of an earlier test."""
    tracks = list(Path(folder).glob('*.npz'))
    if tracks and not Path(folder, RECORD).is_file():
        raise UserError(f'{tracks[0]} is of no test, which replaces such '
                        'files: name another --work-dir')
    for file in tracks:
        file.unlink()


def check_kept(folder: str | Path, checkpoint: str) -> int:
    """Make sure that kept tracks are those of a checkpoint."""
    record = Path(folder, RECORD)
    if not record.is_file():
        raise UserError(f'--resume: there are no tracks in {folder} to go on '
                        'from; leave it out, or name their --work-dir')
    try:
        made_by = json.loads(record.read_text())
    except (OSError, ValueError, RecursionError):
        made_by = None
    if made_by != _identity(checkpoint):
        raise UserError(f'--resume: the tracks in {folder} are not of '
                        f'{checkpoint} as it is now; leave it out')
    return sum(1 for _ in Path(folder).glob('*.npz'))


def _identity(checkpoint: str) -> dict:
    status = os.stat(checkpoint)
    return dict(name=os.path.basename(checkpoint), size=status.st_size,
                changed=status.st_mtime)
