"""Settings that can be run, but that hardly anybody means."""
from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...config.loading import kind_of
from ...utils.console import warn
from ..lr_scaling import check_last_batch
from .progress import by_iteration, log_interval

# A test at scales this many times the training's.
TIMES = 2


class WarnOfOddSettings(Hook):
    """Warns before work begins, where a setting will not do what it says."""

    # After Describe.
    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        """Look at a training."""
        check_last_batch(runner)
        for text in (*_long_warm_up(runner), *_rare_log_lines(runner),
                     *odd_scales(runner.cfg, 'val_dataloader')):
            warn(text)

    def before_test(self, runner: Runner) -> None:
        """Look at a test."""
        for text in odd_scales(runner.cfg, 'test_dataloader'):
            warn(text)


def _long_warm_up(runner: Runner) -> Iterator[str]:
    """The rate of a warm-up that never ends stays below the recipe's."""
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
            yield (f'The warm-up takes {end} {unit}, the whole training '
                   f'{total}: the full learning rate is never reached. Set '
                   f'its end in param_scheduler to {max(1, total // 10)}, '
                   'say.')


def _rare_log_lines(runner: Runner) -> Iterator[str]:
    interval = log_interval(runner)
    if by_iteration(runner):
        length, what = runner.max_iters, 'The whole training has'
    else:
        length, what = len(runner.train_dataloader), 'An epoch has'
    if interval > length:
        yield (f'{what} {length} iterations and the log a line for every '
               f'{interval}, so that its curves have few points or none: '
               '--cfg-options default_hooks.logger.interval='
               f'{max(1, length // 10)}')


def odd_scales(cfg: dict, dataloader: str) -> Iterator[str]:
    """Warn of a test at far larger or smaller scales than the training's."""
    trained = scales_of(cfg.get('train_dataloader'))
    tested = scales_of(cfg.get(dataloader))
    if not trained or not tested:
        return
    for text, times in (
            ('larger', max(tested) / max(trained)),
            ('smaller', min(trained) / max(tested))):
        if times >= TIMES:
            yield (f'{dataloader} resizes images to {_words(tested)}, the '
                   f'training to {_words(trained)}: {times:.1f} times '
                   f'{text}, which costs accuracy. Set the scales of its '
                   'pipeline.')


def _words(scales: set[int]) -> str:
    low, high = min(scales), max(scales)
    return f'{low}' if low == high else f'{low} to {high}'


def scales_of(dataloader: dict | None) -> set[int]:
    """Longer sides that a pipeline resizes images to."""
    return set(_sides((dataloader or {}).get('dataset')))


def _sides(node: object) -> Iterator[int]:
    if isinstance(node, dict):
        if kind_of(node) in ('Resize', 'RandomChoiceResize'):
            for key in ('scale', 'scales'):
                yield from _longer(node.get(key))
        for child in node.values():
            yield from _sides(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from _sides(child)


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
