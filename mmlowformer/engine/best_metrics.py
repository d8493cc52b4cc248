"""Metrics of a validation, and the best ones of a training."""
import re
from collections.abc import Iterator
from numbers import Integral, Real
from typing import NamedTuple

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner


class Best(NamedTuple):
    """The best value of a metric so far, and its checkpoint."""

    metric: str
    score: float
    when: str
    file: str


def best_scores(runner: Runner) -> Iterator[Best]:
    """The best checkpoints that CheckpointHook has recorded."""
    hook = next((hook for hook in runner.hooks
                 if isinstance(hook, CheckpointHook)), None)
    metrics = getattr(hook, 'key_indicators', None) or []
    known = runner.message_hub.runtime_info
    for metric in metrics:
        suffix = '' if len(metrics) == 1 else f'_{metric}'
        file = known.get(f'best_ckpt{suffix}')
        parts = re.search(r'best_(.+)_(epoch|iter)_(\d+)\.pth$', file or '')
        if parts:
            name, kind, number = parts.groups()
            if metric == 'auto':
                metric = _unflattened(name, runner)
            kind = 'iteration' if kind == 'iter' else kind
            yield Best(metric, float(known[f'best_score{suffix}']),
                       f'{kind} {number}', file)


def _unflattened(name: str, runner: Runner) -> str:
    """Find the name of a metric from the name of a file."""
    logged = (key.removeprefix('val/')
              for key in runner.message_hub.log_scalars)
    return next((key for key in logged if key.replace('/', '_') == name),
                name)


def shown_metrics(runner: Runner, metrics: dict) -> str:
    """Describe metrics, starting with the one that selects the best."""
    if not metrics:
        return 'no metrics'
    best = {item.metric: item.score for item in best_scores(runner)}
    names = sorted(metrics, key=lambda name: name not in best)
    return ', '.join(
        f'{name} {format_metric(metrics[name])}'
        + (' (the best)' if best.get(name) == metrics[name] else '')
        for name in names)


def format_metric(value: object) -> str:
    """Format a float with four significant digits."""
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f'{value:.4g}'
    return str(value)
