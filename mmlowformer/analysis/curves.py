"""Curves of trainings: losses, learning rate and metrics, from their logs."""
import difflib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UserError

LOGS = '*/vis_data/scalars.json'
STYLES = ('-', '--', ':', '-.')
PANELS = ('loss', 'learning rate', 'validation', 'training')
PLACES = ('iter', 'epoch', 'step')
# What a validation logs beside its metrics.
TIMES = ('time', 'data_time', 'memory')
# From here on a linear axis would show the first iterations only.
SPAN_OF_A_LOG_AXIS = 100


@dataclass
class Log:
    """What a training logged, over all the times that it was resumed.

    Args:
        name (str): What to call it.
        runs (int): How often it was started.
        train, val (list[tuple[int, dict]]): Iterations and values by name,
            logged while training and after validations.
    """

    name: str
    runs: int = 0
    train: list[tuple[int, dict]] = field(default_factory=list)
    val: list[tuple[int, dict]] = field(default_factory=list)

    def keys(self, kind: str) -> list[str]:
        """Names of the values, in the order in which they were logged.

        Args:
            kind (str): ``'train'`` or ``'val'``.

        Returns:
            list[str]: The names.
        """
        return _without_repeats(
            key for _, values in getattr(self, kind) for key, value in
            values.items()
            if key not in PLACES and isinstance(value, (int, float)))

    def curve(self, kind: str, key: str) -> tuple[list[int], list[float]]:
        """One value over the iterations.

        Args:
            kind (str): ``'train'`` or ``'val'``.
            key (str): Name of the value.

        Returns:
            tuple[list[int], list[float]]: Iterations and values.
        """
        points = [(iteration, values[key])
                  for iteration, values in getattr(self, kind)
                  if key in values]
        return [x for x, _ in points], [y for _, y in points]

    def __str__(self) -> str:
        last = max(iteration for iteration, _ in self.train)
        return (f'{self.name}: iteration {last}, {len(self.val)} '
                f'validation(s), started {self.runs} time(s)')


def read_logs(work_dirs: Sequence[str | Path]) -> list[Log]:
    """Read what trainings logged.

    Args:
        work_dirs (Sequence[str | Path]): Where they wrote.

    Returns:
        list[Log]: One for each work dir, named by what its path does not
        share with the others.

    Raises:
        UserError: If a folder holds no log, or a broken one.
    """
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
            _append(log, records)
    if not log.train:
        raise UserError(
            f'no log of a training in {work_dir} (looked for {LOGS}). Name '
            'the work dir of a training that has logged something.')
    return log


def _read_records(file: Path) -> list[dict]:
    lines = file.read_text(encoding='utf-8').splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            # A killed training leaves its last line torn.
            if number < len(lines):
                raise UserError(f'{file} is no log of a training: line '
                                f'{number} is no JSON') from error
    return records


def _append(log: Log, records: list[dict]) -> None:
    """Add what was logged from a start on; it replaces what came after."""
    first = next(record['step'] for record in records if 'iter' in record)
    log.train = [point for point in log.train if point[0] < first]
    log.val = [point for point in log.val if point[0] < first]
    log.runs += 1
    last = log.train[-1][0] if log.train else 0
    for record in records:
        # The step of a validation is an epoch or an iteration, as configured,
        # or 0. An epoch is never more than the iterations so far.
        last = max(last, record['step'])
        (log.train if 'iter' in record else log.val).append((last, record))


def choose_keys(logs: Sequence[Log], keys: Sequence[str] | None = None
                ) -> dict[str, list[tuple[str, str]]]:
    """What to draw in which panel.

    Args:
        logs (Sequence[Log]): The logs.
        keys (Sequence[str], optional): Names of values. Defaults to losses,
            learning rate and metrics; of several logs to the sum of the
            losses, the learning rate and the main metric.

    Returns:
        dict[str, list[tuple[str, str]]]: For each panel kinds and names.

    Raises:
        UserError: If no log has a value of that name.
    """
    known = _without_repeats(
        (kind, key) for log in logs for kind in ('train', 'val')
        for key in log.keys(kind))
    if keys:
        chosen = [pair for key in keys for pair in _by_name(known, key)]
    else:
        chosen = (_all_keys(logs[0]) if len(logs) == 1 else
                  _without_repeats(
                      pair for log in logs for pair in _main_keys(log)))
    panels = {panel: [pair for pair in chosen if _panel(*pair) == panel]
              for panel in PANELS}
    return {panel: pairs for panel, pairs in panels.items() if pairs}


def _by_name(known: list[tuple[str, str]], key: str) -> list[tuple[str, str]]:
    found = [pair for pair in known if pair[1] == key]
    if not found:
        names = _without_repeats(name for _, name in known)
        close = difflib.get_close_matches(key, names) or [
            name for name in names if key.lower() in name.lower()]
        hint = (f'Did you mean {" or ".join(close)}?' if close else
                f'There are {", ".join(names)}.')
        raise UserError(f'--keys {key}: nothing of that name was logged. '
                        f'{hint}')
    return found


def _without_repeats(items: Iterable) -> list:
    return list(dict.fromkeys(items))


def _all_keys(log: Log) -> list[tuple[str, str]]:
    train = [key for key in log.keys('train')
             if _panel('train', key) == 'loss' or key == 'lr']
    return [*(('train', key) for key in train),
            *(('val', key) for key in log.keys('val') if key not in TIMES)]


def _main_keys(log: Log) -> list[tuple[str, str]]:
    """What trainings are compared by."""
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
    """Draw values over iterations, one panel below the other.

    Args:
        logs (Sequence[Log]): The logs. Several are told apart by colour.
        panels (dict[str, list[tuple[str, str]]]): From :func:`choose_keys`.

    Returns:
        Figure: The figure.
    """
    figure = Figure(figsize=(9, 0.6 + 2.8 * len(panels)))
    figure.set_layout_engine('constrained', w_pad=0.15, h_pad=0.1)
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axis, (title, pairs) in zip(axes, panels.items()):
        _draw_panel(axis, logs, pairs)
        axis.set_ylabel(title)
    axes[-1].set_xlabel('iteration')
    if len(logs) == 1:
        axes[0].set_title(logs[0].name)
    return figure


def _draw_panel(axis: Axes, logs: Sequence[Log],
                pairs: list[tuple[str, str]]) -> None:
    several = len(logs) > 1
    for i, log in enumerate(logs):
        for j, ((kind, key), style) in enumerate(zip(pairs, cycle(STYLES))):
            if key in log.keys(kind):
                axis.plot(
                    *log.curve(kind, key), linewidth=1.2, linestyle=style,
                    color=f'C{(i if several else j) % 10}',
                    marker='o' if kind == 'val' else None, markersize=3,
                    label=f'{log.name}: {key}' if several else key)
    if _panel(*pairs[0]) == 'loss' and _spans_decades(axis):
        axis.set_yscale('log')
    axis.grid(alpha=0.3)
    axis.legend(loc='center left', bbox_to_anchor=(1.01, 0.5), fontsize=8,
                frameon=False)


def _spans_decades(axis: Axes) -> bool:
    values = [value for line in axis.lines for value in line.get_ydata()
              if math.isfinite(value)]
    return bool(values) and min(values) > 0 and \
        max(values) > SPAN_OF_A_LOG_AXIS * min(values)
