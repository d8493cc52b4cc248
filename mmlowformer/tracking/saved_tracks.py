"""Save the track of each tested video, to resume interrupted tests."""
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..errors import UserError
from ..registry import HOOKS
from ..utils.files import atomic_write

# Names the checkpoint of a folder's tracks.
RECORD = 'tracks.json'
KEYS = ('pred_boxes', 'pred_scores', 'seconds', 'bound')


@HOOKS.register_module()
class SaveTracksHook(Hook):
    """Saves the track of each video of a test.

    Args:
        out_dir (str): Folder of the tracks.
        checkpoint (str): File of the tested weights.
    """

    def __init__(self, out_dir: str, checkpoint: str):
        self.out_dir = Path(out_dir)
        self.checkpoint = checkpoint

    def before_test(self, runner: Runner) -> None:
        """Record the checkpoint."""
        self.out_dir.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            (self.out_dir / RECORD).write_text(
                json.dumps(_identity(self.checkpoint)))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                        outputs: Sequence | None = None) -> None:
        """Save the tracks of a batch."""
        for sample in outputs or ():
            with (atomic_write(track_file(self.out_dir, sample.name)) as part,
                  part.open('xb') as file):
                np.savez(file, **{key: getattr(sample, key) for key in KEYS})


def track_file(folder: str | Path, name: str) -> Path:
    """The file of a video's track."""
    return Path(folder, f'{name}.npz')


def read_track(folder: str | Path, name: str) -> dict | None:
    """Read the track of a video, if an earlier test finished it."""
    file = track_file(folder, name)
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as content:
            return {key: content[key] for key in KEYS}
    # NumPy and zipfile raise many errors for damaged files.
    except Exception as error:
        raise UserError(f'{file} is damaged: delete it to track its video '
                        'again') from error


def start_over(folder: str | Path) -> None:
    """Delete the tracks of an earlier test."""
    tracks = list(Path(folder).glob('*.npz'))
    if tracks and not Path(folder, RECORD).is_file():
        raise UserError(f'{tracks[0]} is of no test, and a test replaces such '
                        'files: name another --work-dir')
    for file in tracks:
        file.unlink()


def check_kept(folder: str | Path, checkpoint: str) -> int:
    """Count saved tracks, or refuse those of another checkpoint."""
    record = Path(folder, RECORD)
    if not record.is_file():
        raise UserError(f'--resume: {folder} has no tracks; leave it out, or '
                        'name their --work-dir')
    try:
        made_by = json.loads(record.read_text())
    except (OSError, ValueError, RecursionError):
        made_by = None
    if made_by != _identity(checkpoint):
        raise UserError(f'--resume: the tracks in {folder} are not of '
                        f'{checkpoint} as it is now; leave it out')
    return len(list(Path(folder).glob('*.npz')))


def _identity(checkpoint: str) -> dict:
    status = os.stat(checkpoint)
    return dict(name=os.path.basename(checkpoint), size=status.st_size,
                changed=status.st_mtime)
