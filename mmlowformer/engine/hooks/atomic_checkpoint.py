"""Write checkpoints so that neither a crash nor a full disk loses one."""
import errno
import os
import shutil
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ...checkpoint.resume import latest_checkpoint
from ...errors import UserError
from ...registry import HOOKS
from ...utils.files import atomic_write
from .resume_validation import RECORD, STOPPED
from .switchable import SwitchableHook

BACKEND = 'mmlowformer.whole_files'
PARTIAL = '.partial'
# Files that MMEngine and hooks replace.
RECORDS = ('last_checkpoint', RECORD, STOPPED)
CHECKPOINTS = ('epoch_*.pth', 'iter_*.pth', 'best_*.pth')
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_places(folder: str | Path) -> None:
    """Make sure that nothing is in the way of what a training saves."""
    folder = Path(folder)
    records = [folder / name for name in RECORDS]
    for file in (*records, *chain(*map(folder.glob, CHECKPOINTS))):
        special = file in records and (
            file.is_symlink() or file.exists() and not file.is_file())
        if special or file.is_dir():
            raise UserError(
                f'{file} is in the way of what the training saves: it is no '
                'regular file. Delete it, or name another folder with '
                '--work-dir')


@register_backend(BACKEND)
class WholeFiles(LocalBackend):
    """Files of this machine, of which none is ever half-written.

    MMEngine's own backend writes into the file itself.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file under another name, and give it its own when complete.

        Args:
            obj (bytes): The content.
            filepath (str | Path): The file, which may exist.

        Raises:
            OSError: If it cannot be written; it names the file, which is as
                it was before.
        """
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        try:
            with (atomic_write(filepath, PARTIAL) as part,
                  part.open('wb') as file):
                file.write(obj)
                file.flush()
                # Or the name could survive a power cut, and the content not.
                os.fsync(file.fileno())
        except OSError as error:
            # A failed write does not say where.
            raise OSError(error.errno, error.strerror, str(filepath)) \
                from error


class _RemovesLater(WholeFiles):
    """Collects what is to be removed."""

    def __init__(self):
        self.outdated = []

    def remove(self, filepath: str | Path) -> None:
        self.outdated.append(Path(filepath))

    def remove_now(self) -> None:
        while self.outdated:
            self.outdated.pop().unlink(missing_ok=True)


@HOOKS.register_module()
class AtomicCheckpointHook(SwitchableHook):
    """Makes CheckpointHook replace files atomically, and delete old ones last.

    By itself CheckpointHook deletes outdated checkpoints, even the best one,
    before it has written the new one, and rewrites the latest one in place to
    record a new best. With this hook the disk needs room for one checkpoint
    more.

    Args:
        enabled (bool): Whether to do so. Defaults to True.
    """

    # After CheckpointHook.
    priority = 'LOWEST'

    def __init__(self, enabled: bool = True):
        super().__init__()
        self._backend = _RemovesLater()

    def before_train(self, runner: Runner) -> None:
        """Replace the backend of hooks that save on this machine."""
        for hook in runner.hooks:
            if (isinstance(hook, CheckpointHook)
                    and type(hook.file_backend) is LocalBackend):
                hook.file_backend = self._backend
                hook.backend_args = dict(backend=BACKEND)
                check_places(hook.out_dir)
                self._remove_partial(hook.out_dir)

    @staticmethod
    def _remove_partial(folder: str) -> None:
        """Remove what a killed training was writing."""
        if is_main_process():
            for file in Path(folder).glob(f'*.pth{PARTIAL}'):
                if not file.is_dir():
                    file.unlink()

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Delete the checkpoints that CheckpointHook has replaced."""
        self._backend.remove_now()

    after_train_epoch = after_val_epoch = after_train_iter


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
