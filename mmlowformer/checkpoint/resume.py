"""The checkpoints of a training, and from which of them it can resume."""
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ..errors import UserError
from ..utils.safe_load import check_checkpoint

# What a checkpoint holds of a training, beside the weights.
RESUME_KEYS = ('meta', 'message_hub', 'optimizer')
TYPES = {
    'meta': dict, 'meta.epoch': int, 'meta.iter': int, 'message_hub': dict,
    'message_hub.log_scalars': dict, 'message_hub.runtime_info': dict,
    'message_hub.resumed_keys': dict, 'optimizer': dict}
OPTIMIZER_TYPES = {'state': dict, 'param_groups': list}


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
    files = [file for pattern in ('epoch_*.pth', 'iter_*.pth')
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
