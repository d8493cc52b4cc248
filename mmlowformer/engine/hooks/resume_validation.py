"""Run an interrupted validation when training resumes."""
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from ...checkpoint.work_dir import VALIDATION_RECORD
from ...registry import HOOKS
from ...utils.console import say
from ...utils.files import replace_text
from .progress_bar import by_iteration
from .switchable import SwitchableHook


@HOOKS.register_module()
class ResumeValidationHook(SwitchableHook):
    """Validates a resumed checkpoint whose validation was interrupted.

    CheckpointHook writes a checkpoint before its validation, and MMEngine
    resumes with the next iteration: without this hook the checkpoint could
    never become the best one.

    Args:
        enabled (bool): Whether to validate. Defaults to True.
    """

    # After CheckpointHook has read which checkpoint is the best.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Validate, if that is due."""
        if (runner.iter and runner.val_loop is not None and _is_due(runner)
                and runner.iter > _validated(runner)):
            say('The validation of this checkpoint was interrupted; it runs '
                'now.')
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None
                        ) -> None:
        """Record that the validation is complete."""
        if is_main_process():
            replace_text(Path(runner.work_dir, VALIDATION_RECORD),
                         str(runner.iter))


def _is_due(runner: Runner) -> bool:
    loop = runner.train_loop
    done, end = ((loop.iter, loop.max_iters)
                 if by_iteration(runner)
                 else (loop.epoch, loop.max_epochs))
    return (done >= loop.val_begin
            and (done % loop.val_interval == 0 or done == end))


def _validated(runner: Runner) -> int:
    """The iteration of the last complete validation, or 0."""
    folder = Path(runner.cfg.get('load_from') or runner.work_dir).parent
    for each in (folder, Path(runner.work_dir)):
        record = each / VALIDATION_RECORD
        if record.is_file():
            try:
                return max(0, int(record.read_bytes()))
            except ValueError:
                return 0
    return 0
