"""The checkpoints of a training, and which of them it can go on from."""
import logging
from pathlib import Path

from mmengine.logging import print_log

from ..errors import UserError
from ..utils.safe_load import check_checkpoint
from .states import check_states

# What is in the file of a run in training, beside the weights.
RESUME_KEYS = ('meta', 'message_hub', 'optimizer')


def check_resumable(file: str | Path) -> None:
    """Make sure that training can go on from a checkpoint."""
    path = Path(file)
    if path.is_symlink() and not path.exists():
        raise UserError(f'checkpoint {file} is a link to nothing')
    if path.exists() and not path.is_file():
        raise UserError(f'checkpoint {file} is no file')
    content = check_checkpoint(file)
    if content is None:
        raise UserError(f'--resume takes a file, not {file}')
    missing = [key for key in RESUME_KEYS if key not in content]
    if missing:
        raise UserError(
            f'checkpoint {file} has no {", ".join(missing)}, so training '
            'cannot go on from it. To start a new training from its weights: '
            f'--cfg-options load_from={file}')
    check_states(content, file)


def saved_checkpoints(work_dir: str | Path) -> list[Path]:
    """Checkpoints of a training in ``work_dir``, newest first."""
    files = [file for pattern in ('epoch_*.pth', 'iter_*.pth')
             for file in Path(work_dir).glob(pattern)]
    return sorted(files, key=lambda file: file.lstat().st_mtime_ns,
                  reverse=True)


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Newest checkpoint in ``work_dir`` that training can go on from.

    One that a crash left half-written is passed over with a warning.
    """
    for file in saved_checkpoints(work_dir):
        try:
            check_resumable(file)
            return file
        except UserError as error:
            print_log(f'Passed over: {error}', 'current',
                      level=logging.WARNING)
    return None
