"""A validation that was interrupted is made up when training goes on."""
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...utils.console import say
from ...utils.files import replace_text
from .progress import by_iteration

# Beside MMEngine's own "last_checkpoint".
RECORD = 'last_validation'


class MakeUpValidation(Hook):
    """Validates on resuming where the validation was not completed.

    A checkpoint is written before the validation that belongs to it, and
    MMEngine goes on with the iteration after, so that the checkpoint could
    never become the best.
    """

    # When all is loaded, and CheckpointHook knows the best.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Validate, if that is due and was not done."""
        if (runner.iter and runner.val_loop is not None and _is_due(runner)
                and runner.iter > _validated(runner)):
            say('The validation of this checkpoint was not completed; it is '
                'made up now.')
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None
                        ) -> None:
        """Record that the validation is complete."""
        if is_main_process():
            replace_text(Path(runner.work_dir, RECORD), str(runner.iter))


def _is_due(runner: Runner) -> bool:
    loop = runner.train_loop
    done, end = ((loop.iter, loop.max_iters)
                 if by_iteration(runner)
                 else (loop.epoch, loop.max_epochs))
    return (done >= loop.val_begin
            and (done % loop.val_interval == 0 or done == end))


def _validated(runner: Runner) -> int:
    """The iteration of the last complete validation, 0 if there is none."""
    folder = Path(runner.cfg.get('load_from') or runner.work_dir).parent
    for record in (folder / RECORD, Path(runner.work_dir, RECORD)):
        if record.is_file():
            try:
                return max(0, int(record.read_bytes()))
            except ValueError:
                return 0
    return 0
