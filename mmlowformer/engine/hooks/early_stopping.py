"""Remember that a training was stopped early."""
import json
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner

from ...checkpoint.work_dir import STOPPING_RECORD, saved_checkpoints
from ...config.loading import dicts_in, kind_of
from ...registry import HOOKS
from ...utils.console import say
from ...utils.files import replace_text
from ...utils.text import wrapped
from .switchable import SwitchableHook

# What EarlyStoppingHook counts; all else are its settings.
STATE = ('wait_count', 'best_score')


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
