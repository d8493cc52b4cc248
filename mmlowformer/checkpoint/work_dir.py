"""What a training saves, and from which checkpoint it can resume."""
import errno
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ..errors import UserError
from ..utils.safe_load import check_checkpoint

# The iteration of the last complete validation.
VALIDATION_RECORD = 'last_validation'
# What EarlyStoppingRecordHook writes.
STOPPING_RECORD = 'stopped_early.json'
# Files that MMEngine and hooks replace.
RECORDS = ('last_checkpoint', VALIDATION_RECORD, STOPPING_RECORD)
CHECKPOINTS = ('epoch_*.pth', 'iter_*.pth')
BEST = 'best_*.pth'
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a checkpoint holds of a training, beside the weights.
RESUME_KEYS = ('meta', 'message_hub', 'optimizer')
TYPES = {
    'meta': dict, 'meta.epoch': int, 'meta.iter': int, 'message_hub': dict,
    'message_hub.log_scalars': dict, 'message_hub.runtime_info': dict,
    'message_hub.resumed_keys': dict, 'optimizer': dict}
OPTIMIZER_TYPES = {'state': dict, 'param_groups': list}


def check_places(folder: str | Path) -> None:
    """Make sure that nothing is in the way of what a training saves."""
    folder = Path(folder)
    records = [folder / name for name in RECORDS]
    for file in (*records, *chain(*map(folder.glob, (*CHECKPOINTS, BEST)))):
        special = file in records and (
            file.is_symlink() or file.exists() and not file.is_file())
        if special or file.is_dir():
            raise UserError(
                f'{file} is in the way of what the training saves: it is no '
                'regular file. Delete it, or name another folder with '
                '--work-dir')


def check_resumable(file: str | Path) -> None:
    """Make sure that training can resume from a checkpoint."""
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
            f'{_REMEDY}{file}')
    for problem in _problems(content):
        raise UserError(f'checkpoint {file}: {problem}, so training '
                        f'{_REMEDY}{file}')


_REMEDY = ('cannot resume from it. To start a new training from its weights: '
           '--cfg-options load_from=')


def _problems(content: dict) -> Iterator[str]:
    yield from _mistyped(content, TYPES)
    optimizers = content['optimizer']
    # One, or several by name.
    if 'param_groups' in optimizers or not optimizers:
        optimizers = {'': optimizers}
    for name, state in optimizers.items():
        if isinstance(state, dict):
            yield from _mistyped(state, OPTIMIZER_TYPES, 'optimizer.')
        else:
            yield f'optimizer.{name} is no dict'
    schedulers = content.get('param_schedulers', [])
    groups = (schedulers.values() if isinstance(schedulers, dict)
              else [schedulers])
    for group in groups:
        if not isinstance(group, list) or not all(
                isinstance(item, dict) for item in group):
            yield 'param_schedulers is no list of dicts'


def _mistyped(content: dict, types: Mapping[str, type], prefix: str = ''
              ) -> Iterator[str]:
    for path, kind in types.items():
        value: Any = content
        for name in path.split('.'):
            value = value.get(name)
        if not isinstance(value, kind):
            found = 'missing' if value is None else (
                f'a {type(value).__name__}')
            yield f'{prefix}{path} is {found}, not a {kind.__name__}'


def saved_checkpoints(work_dir: str | Path) -> list[Path]:
    """Checkpoints of a training in ``work_dir``, newest first."""
    files = [file for pattern in CHECKPOINTS
             for file in Path(work_dir).glob(pattern)]
    return sorted(files, key=lambda file: file.lstat().st_mtime_ns,
                  reverse=True)


def latest_checkpoint(work_dir: str | Path) -> Path | None:
    """Newest checkpoint in ``work_dir`` from which training can resume.

    Incomplete checkpoints are skipped with a warning.
    """
    for file in saved_checkpoints(work_dir):
        try:
            check_resumable(file)
            return file
        except UserError as error:
            print_log(f'Skipped: {error}', 'current',
                      level=logging.WARNING)
    return None


def checkpoint_in(work_dir: str | Path) -> Path | None:
    """The best checkpoint in ``work_dir``, or else the newest."""
    best = sorted(Path(work_dir).glob(BEST),
                  key=lambda file: file.lstat().st_mtime_ns)
    return next(iter(best[::-1] or saved_checkpoints(work_dir)), None)


@contextmanager
def full_disk_errors(work_dir: str | Path):
    """Tell what to do when a training cannot write."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM and not _is_in(work_dir, error):
            raise
        file = Path(error.filename or work_dir)
        what = error.filename or f'A file in {work_dir}'
        raise UserError(
            f'{what} could not be written: {error.strerror} '
            f'({_free_space(file)} free there). {_way_out(work_dir)}'
        ) from error


def _is_in(work_dir: str | Path, error: OSError) -> bool:
    folder = Path(work_dir).absolute()
    return (isinstance(error.filename, (str, Path))
            and folder in Path(error.filename).absolute().parents)


def _free_space(file: Path) -> str:
    folder = next(folder for folder in (file, *file.absolute().parents)
                  if folder.is_dir())
    return _megabytes(shutil.disk_usage(folder).free)


def _way_out(work_dir: str | Path) -> str:
    latest = latest_checkpoint(work_dir)
    if latest is None:
        return ('There is no earlier checkpoint: free space, or name another '
                'disk with --work-dir, and start again.')
    return (f'The checkpoint before, {latest} '
            f'({_megabytes(latest.stat().st_size)}), is intact: free space, '
            'and repeat the command with --resume.')


def _megabytes(size: int) -> str:
    return f'{size / 1e6:.1f} MB'
