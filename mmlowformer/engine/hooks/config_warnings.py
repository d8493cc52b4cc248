"""Warn of settings that are valid, but hardly intended."""
from collections.abc import Iterator

from mmengine.runner import Runner

from ...config.loading import dicts_in, kind_of
from ...registry import HOOKS
from ...utils.console import warn
from . import SwitchableHook
from .progress_bar import by_iteration, log_interval

# Ratio of the scales of test and training from which on it warns.
TIMES = 2


@HOOKS.register_module()
class ConfigWarningHook(SwitchableHook):
    """Warns of settings without effect, and of test images of another scale.

    Args:
        enabled (bool): Whether to warn. Defaults to True.
    """

    # After RunSummaryHook.
    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        """Look at a training."""
        for text in (*_long_warm_up(runner), *_rare_log_lines(runner),
                     *odd_scales(runner.cfg, 'val_dataloader')):
            warn(text)

    def before_test(self, runner: Runner) -> None:
        """Look at a test."""
        for text in odd_scales(runner.cfg, 'test_dataloader'):
            warn(text)


def _long_warm_up(runner: Runner) -> Iterator[str]:
    schedulers = runner.cfg.get('param_scheduler') or []
    if not isinstance(schedulers, list):
        schedulers = [schedulers]
    for item in schedulers:
        if not str(item.get('type')).endswith(('LinearLR', 'ConstantLR')):
            continue
        by_epoch = item.get('by_epoch', True)
        total = runner.max_epochs if by_epoch else runner.max_iters
        end, unit = item.get('end'), 'epochs' if by_epoch else 'iterations'
        if end and end > total:
            yield (f'The warm-up ({end} {unit}) is longer than the training '
                   f'({total}) and never reaches the full learning rate. Set '
                   f'its end in param_scheduler, e.g. to '
                   f'{max(1, total // 10)}.')


def _rare_log_lines(runner: Runner) -> Iterator[str]:
    interval = log_interval(runner)
    if by_iteration(runner):
        length, what = runner.max_iters, 'the training'
    else:
        length, what = len(runner.train_dataloader), 'an epoch'
    if interval > length:
        yield (f'The log interval ({interval}) exceeds the iterations of '
               f'{what} ({length}). Set --cfg-options '
               f'default_hooks.logger.interval={max(1, length // 10)}.')


def odd_scales(cfg: dict, dataloader: str) -> Iterator[str]:
    """Warn of a test at scales far from those of the training."""
    trained = scales_of(cfg.get('train_dataloader'))
    tested = scales_of(cfg.get(dataloader))
    if not trained or not tested:
        return
    for text, times in (
            ('larger', max(tested) / max(trained)),
            ('smaller', min(trained) / max(tested))):
        if times >= TIMES:
            yield (f'{dataloader} resizes images to {_words(tested)}, '
                   f'{times:.1f} times {text} than in training '
                   f'({_words(trained)}), which costs accuracy. Set the '
                   'scales of its pipeline.')


def _words(scales: set[int]) -> str:
    low, high = min(scales), max(scales)
    return f'{low}' if low == high else f'{low} to {high}'


def scales_of(dataloader: dict | None) -> set[int]:
    """Longer sides that a pipeline resizes images to."""
    return {side for _, step in dicts_in((dataloader or {}).get('dataset'))
            if kind_of(step) in ('Resize', 'RandomChoiceResize')
            for key in ('scale', 'scales')
            for side in _longer(step.get(key))}


def _longer(scale: object) -> Iterator[int]:
    """The longer side of ``(w, h)``, of each of several, or of an int."""
    if isinstance(scale, int):
        yield scale
    elif isinstance(scale, (list, tuple)) and scale:
        if all(isinstance(side, int) for side in scale) and len(scale) == 2:
            yield max(scale)
        else:
            for item in scale:
                yield from _longer(item)
