"""Check where tools write before they work for hours."""
import os
from pathlib import Path

from mmengine.config import Config

from ..config.loading import read_config
from ..errors import UserError
from ..utils.files import check_new, check_new_folder


def check_work_dir(cfg: Config) -> None:
    """Check that a work dir exists or can be created, and is writable."""
    problem = _problem(Path(cfg.work_dir))
    if problem:
        raise UserError(f'work dir {cfg.work_dir} cannot be written: '
                        f'{problem}. Name another folder with --work-dir')
    if _would_replace_config(cfg):
        raise UserError(f'{cfg.filename} would be overwritten: what MMEngine '
                        'writes into the work dir has the same name. Name '
                        'another folder with --work-dir')


def _would_replace_config(cfg: Config) -> bool:
    if not cfg.filename:
        return False
    file = Path(cfg.work_dir, Path(cfg.filename).name)
    # What MMEngine has written itself stays the same.
    return (file.exists() and file.samefile(cfg.filename)
            and read_config(str(file)).pretty_text.strip()
            != file.read_text(encoding='utf-8').strip())


def check_outputs(out: str | None, show_dir: str | None,
                  submission: str | None = None, *,
                  resume: bool = False) -> None:
    """Check that the outputs of a test are new and can be written."""
    if out and Path(out).is_dir():
        raise UserError(f'--out {out} is a folder, it has to be a file')
    check_new(*filter(None, (out, submission)))
    for option, path in (('--out', out and Path(out).parent),
                         ('--show-dir', show_dir and Path(show_dir))):
        problem = path and _problem(path)
        if problem:
            raise UserError(f'{option} {path} cannot be written: {problem}')
    if show_dir and not resume:
        check_new_folder(show_dir)


def _problem(folder: Path) -> str | None:
    """Why a folder cannot be made, or written to."""
    folder = folder.absolute()
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        return f'{folder} is a file'
    if not os.access(folder, os.W_OK | os.X_OK):
        return f'no permission in {folder}'
    return None
