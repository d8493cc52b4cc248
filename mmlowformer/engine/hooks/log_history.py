"""Keep of the logged values only those that the log averages."""
from mmengine.runner import Runner

from ...registry import HOOKS
from .switchable import SwitchableHook


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
