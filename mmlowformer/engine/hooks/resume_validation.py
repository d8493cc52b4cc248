"""Resume with the validation of a training, and with its early stopping."""
import json
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner

from ...checkpoint.work_dir import (
    STOPPING_RECORD,
    VALIDATION_RECORD,
    saved_checkpoints,
)
from ...config.loading import dicts_in, kind_of
from ...registry import HOOKS
from ...utils.console import say
from ...utils.files import replace_text
from ...utils.text import wrapped
from . import SwitchableHook
from .progress_bar import by_iteration

# What EarlyStoppingHook counts; all else are its settings.
STATE = ('wait_count', 'best_score')


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


@HOOKS.register_module()
class EarlyStoppingRecordHook(SwitchableHook):
    """Keeps a training that was stopped early from going on when it resumes.

    MMEngine's checkpoints do not tell that EarlyStoppingHook has stopped the
    training; with this hook ``stopped_early.json`` beside them does. With
    other settings of EarlyStoppingHook the training goes on.

    Args:
        enabled (bool): Whether to do so. Defaults to True.
    """

    def __init__(self, enabled: bool = True):
        super().__init__()
        self._resumed_from = ''

    def before_train(self, runner: Runner) -> None:
        """Stop again, unless the settings have changed."""
        record = Path(runner.work_dir, STOPPING_RECORD)
        source = runner.cfg.get('load_from') or _newest(runner)
        if runner.iter and _read(record) == _description(runner, source):
            say(wrapped(f'{record}: this training was stopped early. '
                        f'{_remedy(runner)}, or delete that file.'))
            runner.train_loop.stop_training = True
            self._resumed_from = source
        elif is_main_process():
            record.unlink(missing_ok=True)

    def after_train(self, runner: Runner) -> None:
        """Record that the training was stopped."""
        if (runner.train_loop.stop_training and is_main_process()
                and runner.iter < runner.max_iters):
            source = self._resumed_from or _newest(runner)
            replace_text(Path(runner.work_dir, STOPPING_RECORD),
                         json.dumps(_description(runner, source)))


def _newest(runner: Runner) -> str:
    last = runner.message_hub.get_info('last_ckpt')
    saved = saved_checkpoints(Path(last).parent if last else runner.work_dir)
    return str(saved[0]) if saved else ''


def _description(runner: Runner, checkpoint: str) -> dict:
    """The last checkpoint, and the settings that stopped the training."""
    return dict(checkpoint=Path(checkpoint).name, settings=[
        {name: repr(value) for name, value in vars(hook).items()
         if name not in STATE}
        for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)])


def _read(record: Path) -> object:
    try:
        return json.loads(record.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return None


def _remedy(runner: Runner) -> str:
    for path, hook in dicts_in(runner.cfg.get('custom_hooks'),
                               'custom_hooks'):
        if kind_of(hook) == 'EarlyStoppingHook':
            patience = hook.get('patience', 5)
            return (f'To go on, give it more patience: --cfg-options {path}.'
                    f'patience={2 * patience}')
    return 'To go on, change the settings of the hook that stopped it'
