"""Where a training or a test is: a live bar, or lines without a terminal."""

from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import IterBasedTrainLoop, Runner
from rich.progress import (
    TextColumn,
)

from ...utils.console import console, set_bar, show
from ...utils.progress_bar import _bar, hours
from ...utils.text import wrapped
from ..best_metrics import shown_metrics

# Iterations that the loss is averaged over.
SMOOTHED = 10


class ShowProgress(Hook):
    """Shows how far training, validation and testing are.

    At a terminal it is a bar from the first iteration on, of which a line
    remains for each epoch. Elsewhere it is a line for the first and the last
    iteration and at the interval of the log file.
    """

    # After the hooks that measure time and count.
    priority = 'VERY_LOW'

    def __init__(self):
        self._bar = None
        self._task = None
        self._interval = 1

    def before_run(self, runner: Runner) -> None:
        """Take over the log file's interval."""
        self._interval = log_interval(runner) or 10

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the bar of an epoch, or of an iteration-based training."""
        self._start()

    def before_val_epoch(self, runner: Runner) -> None:
        """Start the bar of a validation."""
        self._start()

    def before_test_epoch(self, runner: Runner) -> None:
        """Start the bar of a test."""
        self._start()

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
        # An iteration-based training goes on within its only epoch.
        if runner.iter < runner.max_iters and by_iteration(runner):
            self._start()

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None
                         ) -> None:
        """End the bar."""
        set_bar(None)

    def _start(self) -> None:
        if not is_main_process():
            return
        self._bar = _bar(TextColumn('{task.fields[state]}'))
        self._task = self._bar.add_task('Starting', total=None, state='')
        set_bar(self._bar)

    def _move(self, runner: Runner, stage: str, done: int, total: int,
              state: str = '') -> None:
        if self._bar is None:
            return
        left = hours(runner.message_hub.get_info('eta') or 0)
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
