"""Write checkpoints so that neither a crash nor a full disk loses one."""
import os
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ...checkpoint.work_dir import check_places
from ...registry import HOOKS
from ...utils.files import atomic_write
from . import SwitchableHook

BACKEND = 'mmlowformer.whole_files'
PARTIAL = '.partial'


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
