"""Draw losses, learning rates and metrics from the logs of trainings."""
import difflib
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UserError, first_line, plain_label

LOGS = '*/vis_data/scalars.json'
STYLES = ('-', '--', ':', '-.')
PANELS = ('loss', 'learning rate', 'validation', 'training')
PLACES = ('iter', 'epoch', 'step')
# Values that a validation logs beside its metrics.
TIMES = ('time', 'data_time', 'memory')
# The iterations of an epoch, in the text log.
EPOCH_LENGTH = re.compile(r'Epoch\(train\)\s+\[\d+\]\[\s*\d+/(\d+)\]')
# In the config beside the log.
WINDOW = re.compile(r'window_size=(\d+)')
# Metrics of which lower values are better.
LOWER_IS_BETTER = ('loss', 'error', 'mae', 'mse')
# The largest integer of numpy.
LARGEST = 2**63 - 1
# Losses that span a larger ratio have a logarithmic axis.
LOG_AXIS_SPAN = 100


@dataclass
class Log:
    """The log of a training, over all its runs."""

    name: str
    runs: int = 0
    window: int | None = None
    train: list[tuple[int, dict]] = field(default_factory=list)
    val: list[tuple[int, dict]] = field(default_factory=list)

    def keys(self, kind: str) -> list[str]:
        """Names of the values, in the order of the log."""
        return list(dict.fromkeys(
            key for _, values in getattr(self, kind) for key, value in
            values.items() if key not in PLACES and _is_number(value)))

    def curve(self, kind: str, key: str) -> tuple[list[int], list[float]]:
        """One value over the iterations."""
        points = [(iteration, values[key])
                  for iteration, values in getattr(self, kind)
                  if _is_number(values.get(key))]
        return [x for x, _ in points], [y for _, y in points]

    def __str__(self) -> str:
        last = max(iteration for iteration, _ in self.train)
        return (f'{self.name}: iteration {last}, {len(self.val)} '
                f'validation(s), started {self.runs} time(s)')


def read_logs(work_dirs: Sequence[str | Path]) -> list[Log]:
    """Read the logs of trainings."""
    folders = list(dict.fromkeys(Path(os.path.abspath(work_dir))
                                 for work_dir in work_dirs))
    shared = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [_read_log(folder, str(folder.relative_to(shared)))
            for folder in folders]


def _read_log(work_dir: Path, name: str) -> Log:
    log = Log(name)
    # The folders are named by date and time.
    for file in sorted(work_dir.glob(LOGS)):
        records = _read_records(file)
        if any('iter' in record for record in records):
            # The text log has the name of its folder.
            run = file.parent.parent
            _append(log, records, _number_in(run / f'{run.name}.log',
                                             EPOCH_LENGTH))
            log.window = _number_in(file.with_name('config.py'), WINDOW)
    if not log.train:
        raise UserError(
            f'no log of a training in {work_dir} (looked for {LOGS}): name '
            'the work dir of a training')
    return log


def _read_records(file: Path) -> list[dict]:
    try:
        lines = file.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{file} is no log of a training: '
                        f'{first_line(error)}') from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            # The last line of a killed training may be incomplete.
            if number < len(lines):
                raise UserError(f'{file} is no log of a training: line '
                                f'{number} is no JSON') from error
            continue
        # MMEngine logs a step, and an iteration of trainings.
        if not isinstance(record, dict) or not all(
                type(value) is int and 0 <= value <= LARGEST
                for value in (record.get('step'), record.get('iter', 0))):
            raise UserError(f'{file} is no log of a training: line {number} '
                            'is no record with a step')
        records.append(record)
    return records


def _number_in(file: Path, pattern: re.Pattern) -> int | None:
    if not file.is_file():
        return None
    found = pattern.search(file.read_text(encoding='utf-8', errors='replace'))
    return int(found[1]) if found else None


def _append(log: Log, records: list[dict], epoch: int | None) -> None:
    """Add the records of a run; they replace later ones of earlier runs."""
    first = next(record['step'] for record in records if 'iter' in record)
    log.train = [point for point in log.train if point[0] < first]
    log.val = [point for point in log.val if point[0] < first]
    log.runs += 1
    last = log.train[-1][0] if log.train else 0
    for record in records:
        last = (record['step'] if 'iter' in record else
                _iteration(record['step'], last, epoch))
        (log.train if 'iter' in record else log.val).append((last, record))


def _iteration(step: int, last: int, epoch: int | None) -> int:
    """The iteration of a validation, whose step may be an epoch, or 0."""
    # An epoch ends less than an epoch after the last logged iteration.
    if epoch and last <= step * epoch < last + epoch:
        return step * epoch
    return max(last, step)


def choose_keys(logs: Sequence[Log], keys: Sequence[str] | None = None
                ) -> dict[str, list[tuple[str, str]]]:
    """Choose the curves of each panel."""
    known = dict.fromkeys((kind, key) for log in logs for kind in
                          ('train', 'val') for key in log.keys(kind))
    if keys:
        chosen = [pair for key in keys for pair in _by_name(known, key)]
    elif len(logs) == 1:
        chosen = _all_keys(logs[0])
    else:
        chosen = list(dict.fromkeys(
            pair for log in logs for pair in _main_keys(log)))
    panels = {panel: [pair for pair in chosen if _panel(*pair) == panel]
              for panel in PANELS}
    return {panel: pairs for panel, pairs in panels.items() if pairs}


def _by_name(known: Iterable[tuple[str, str]], key: str
             ) -> list[tuple[str, str]]:
    found = [pair for pair in known if pair[1] == key]
    if not found:
        names = list(dict.fromkeys(name for _, name in known))
        close = difflib.get_close_matches(key, names) or [
            name for name in names if key.lower() in name.lower()]
        hint = (f'Did you mean {" or ".join(close)}?' if close else
                f'Choose from {", ".join(names)}.')
        if key == 'grad_norm':
            hint = 'Only trainings with optim_wrapper.clip_grad log it.'
        raise UserError(f'--keys {key}: no such value was logged. {hint}')
    return found


def _is_number(value: object) -> bool:
    """Whether it can be drawn, or is NaN."""
    return isinstance(value, float) or (
        isinstance(value, int) and abs(value) <= LARGEST)


def _all_keys(log: Log) -> list[tuple[str, str]]:
    train = [key for key in log.keys('train')
             if _panel('train', key) == 'loss' or key == 'lr']
    return [*(('train', key) for key in train),
            *(('val', key) for key in log.keys('val') if key not in TIMES
              # COCO's metrics are -1 for sizes without objects.
              and set(log.curve('val', key)[1]) != {-1})]


def _main_keys(log: Log) -> list[tuple[str, str]]:
    """The curves for comparing trainings."""
    keys = _all_keys(log)
    metrics = [pair for pair in keys if pair[0] == 'val']
    # All libraries but mmsegmentation log the main metric first.
    main = [pair for pair in metrics if pair[1].endswith('mIoU')] or metrics
    return [pair for pair in keys
            if pair in (('train', 'loss'), ('train', 'lr'), *main[:1])]


def _panel(kind: str, key: str) -> str:
    if kind == 'val':
        return 'validation'
    if 'loss' in key:
        return 'loss'
    if key in ('lr', 'base_lr') or key.endswith('.lr'):
        return 'learning rate'
    return 'training'


def draw_curves(logs: Sequence[Log],
                panels: dict[str, list[tuple[str, str]]]) -> Figure:
    """Draw the panels over iterations, one below the other."""
    figure = Figure(figsize=(9, 0.6 + 2.8 * len(panels)))
    figure.set_layout_engine('constrained', w_pad=0.15, h_pad=0.1)
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axis, (title, pairs) in zip(axes, panels.items()):
        _draw_panel(axis, logs, pairs)
        axis.set_ylabel(plain_label(title) + _smoothing(logs, title))
    axes[-1].set_xlabel('iteration')
    if len(logs) == 1:
        axes[0].set_title(plain_label(logs[0].name))
    return figure


def _draw_panel(axis: Axes, logs: Sequence[Log],
                pairs: list[tuple[str, str]]) -> None:
    several = len(logs) > 1
    for i, log in enumerate(logs):
        for j, ((kind, key), style) in enumerate(zip(pairs, cycle(STYLES))):
            if key in log.keys(kind):
                _draw_curve(
                    axis, log, kind, key, linestyle=style,
                    color=f'C{(i if several else j) % 10}',
                    label=f'{log.name}: {key}' if several else key)
    if _panel(*pairs[0]) == 'loss' and _spans_decades(axis):
        axis.set_yscale('log')
    axis.grid(alpha=0.3)
    axis.legend(loc='center left', bbox_to_anchor=(1.01, 0.5), fontsize=8,
                frameon=False)


def _draw_curve(axis: Axes, log: Log, kind: str, key: str, *, label: str,
                color: str, linestyle: str) -> None:
    iterations, values = log.curve(kind, key)
    best = _best(key, values) if kind == 'val' else None
    if best is not None:
        label += f', best {values[best]:.4g} at {iterations[best]}'
        axis.scatter(iterations[best], values[best], s=90, marker='*',
                     color=color, zorder=3)
    # A line through a single point is invisible.
    marked = kind == 'val' or len(values) == 1
    axis.plot(iterations, values, linewidth=1.2, linestyle=linestyle,
              color=color, marker='o' if marked else None, markersize=3,
              label=plain_label(label))


def _best(key: str, values: list[float]) -> int | None:
    """Index of the first of the best values."""
    less = any(word in key.lower() for word in LOWER_IS_BETTER)
    finite = [index for index, value in enumerate(values)
              if math.isfinite(value)]
    return (min if less else max)(finite, key=values.__getitem__,
                                  default=None)


def _smoothing(logs: Sequence[Log], panel: str) -> str:
    """A note on the window that MMEngine averages over."""
    windows = sorted({log.window for log in logs if log.window is not None})
    if panel not in ('loss', 'training') or not windows:
        return ''
    known = ' or '.join(map(str, windows))
    return f'\n(mean of up to {known} iterations)'


def _spans_decades(axis: Axes) -> bool:
    values = np.concatenate([[], *(
        np.asarray(line.get_ydata(), float) for line in axis.lines)])
    values = values[np.isfinite(values)]
    return bool(values.size) and bool(
        values.min() > 0 and values.max() > LOG_AXIS_SPAN * values.min())
