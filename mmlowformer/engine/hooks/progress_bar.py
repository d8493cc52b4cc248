"""Show progress, by a live bar or by lines, and limit what the log keeps."""
from mmengine.dist import is_main_process
from mmengine.hooks import LoggerHook
from mmengine.runner import IterBasedTrainLoop, Runner
from rich.progress import MofNCompleteColumn, Progress, TaskID, TextColumn

from ...registry import HOOKS
from ...utils.console import install_screen_handler, show
from ...utils.terminal import console, format_duration, make_bar, set_bar
from ...utils.text import wrapped
from ..best_metrics import shown_metrics
from . import SwitchableHook

# Iterations that the loss is averaged over.
SMOOTHED = 10


@HOOKS.register_module()
class ProgressBarHook(SwitchableHook):
    """Shows the progress of training, validation and testing.

    A terminal shows a bar, and keeps a line per epoch. Elsewhere there is a
    line for the first and the last iteration and at the interval of the log
    file. MMEngine's lines go to the log file only.

    Args:
        enabled (bool): Whether to show it. Defaults to True.
    """

    # After the hooks that measure time and count.
    priority = 'VERY_LOW'

    def __init__(self, enabled: bool = True):
        super().__init__()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._interval = 1

    def before_run(self, runner: Runner) -> None:
        """Take over the screen, and the log file's interval."""
        install_screen_handler(runner.logger)
        self._interval = log_interval(runner) or 10

    def before_train_epoch(self, runner: Runner) -> None:
        """Start a bar."""
        self._start()

    before_val_epoch = before_test_epoch = before_train_epoch

    def after_train_iter(self, runner: Runner, batch_idx: int, *args,
                         **kwargs) -> None:
        """Move on by one iteration."""
        loss = runner.message_hub.get_scalar('train/loss').mean(
            min(SMOOTHED, batch_idx + 1))
        total = (runner.max_iters if by_iteration(runner)
                 else len(runner.train_dataloader))
        self._move(runner, _stage(runner), batch_idx + 1, total,
                   f'loss {loss:.4f}')

    def after_val_iter(self, runner: Runner, batch_idx: int, *args,
                       **kwargs) -> None:
        """Move on by one batch."""
        self._move(runner, 'Validation', batch_idx + 1,
                   len(runner.val_dataloader))

    def after_test_iter(self, runner: Runner, batch_idx: int, *args,
                        **kwargs) -> None:
        """Move on by one batch."""
        self._move(runner, 'Testing', batch_idx + 1,
                   len(runner.test_dataloader))

    def after_train_epoch(self, runner: Runner) -> None:
        """End the bar."""
        set_bar(None)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None
                        ) -> None:
        """End the bar, and show what the validation found."""
        set_bar(None)
        show(wrapped(f'Validation: {shown_metrics(runner, metrics or {})}',
                     '  '))
        # An iteration-based training resumes within its only epoch.
        if runner.iter < runner.max_iters and by_iteration(runner):
            self._start()

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None
                         ) -> None:
        """End the bar."""
        set_bar(None)

    def _start(self) -> None:
        if not is_main_process():
            return
        self._bar = make_bar(MofNCompleteColumn(),
                             TextColumn('{task.fields[state]}'))
        self._task = self._bar.add_task('Starting', total=None, state='')
        set_bar(self._bar)

    def _move(self, runner: Runner, stage: str, done: int, total: int,
              state: str = '') -> None:
        if self._bar is None:
            return
        left = format_duration(runner.message_hub.get_info('eta') or 0)
        state = '  '.join(filter(None, (state, f'{left} left')))
        if console().is_terminal:
            self._bar.update(self._task, description=stage, completed=done,
                             total=total, state=state)
            # Of the bar, which goes, a line remains.
            due = done == total
        else:
            due = done in (1, total) or done % self._interval == 0
        if due:
            show(f'{stage}  {done}/{total}  {state}')


def by_iteration(runner: Runner) -> bool:
    """Whether a training is counted in iterations, not in epochs."""
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def _stage(runner: Runner) -> str:
    if by_iteration(runner):
        return 'Training'
    return f'Epoch {runner.epoch + 1}/{runner.max_epochs}'


def log_interval(runner: Runner) -> int:
    """Iterations between two lines of the log file, 0 if it has none."""
    return next((hook.interval for hook in runner.hooks
                 if isinstance(hook, LoggerHook)), 0)


@HOOKS.register_module()
class LogHistoryHook(SwitchableHook):
    """Limits the history of losses, times and learning rates.

    MMEngine keeps up to a million values of each, copies them in each
    iteration, and saves them in each checkpoint. The log averages only the
    last ones. A log processor that averages all values keeps them.

    Args:
        max_length (int): Values that are kept of each, or as many as the log
            averages if that is more. Defaults to 1000.
        enabled (bool): Whether to limit it. Defaults to True.
    """

    def __init__(self, max_length: int = 1000, enabled: bool = True):
        super().__init__()
        self._at_least = max_length
        self._max_length: int | None = None

    def before_train(self, runner: Runner) -> None:
        """Find the longest average of the log; limit what was resumed."""
        self._max_length = _longest(runner, self._at_least)
        self.after_train_iter(runner)

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Limit all values, also new ones."""
        if self._max_length is not None:
            for history in runner.message_hub.log_scalars.values():
                # The next value drops the oldest ones.
                history.max_length = self._max_length


def _longest(runner: Runner, at_least: int) -> int | None:
    """Values that the log may average; None stands for all."""
    processor = runner.log_processor
    # The time of a whole validation is averaged.
    validation = 0 if runner.val_loop is None else len(runner.val_dataloader)
    lengths = [at_least, processor.window_size, validation]
    for settings in processor.custom_cfg:
        window = settings.get('window_size')
        if window == 'epoch':
            lengths.append(len(runner.train_dataloader))
        elif isinstance(window, int):
            lengths.append(window)
        else:
            return None
    return max(lengths)
