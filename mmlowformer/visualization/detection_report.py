"""Pictures of a detector's errors."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

GREEN, RED = '#00823c', '#c8001e'
# Light to dark, for small to large boxes.
SHADES = ('#9ecae1', '#4292c6', '#08519c')


def draw_thresholds(recall: np.ndarray, precision: np.ndarray,
                    sweep: Mapping[str, np.ndarray], best: float,
                    chosen: float, file: str | Path) -> None:
    """Draw precision over recall, and F1 over score thresholds.

    Args:
        recall: Recall at each score of a prediction.
        precision: Precision at the same scores.
        sweep: Values at each of the score thresholds in ``threshold``.
        best: Threshold of the largest F1.
        chosen: The threshold at which errors are counted.
        file: The picture to write.
    """
    figure = Figure(figsize=(10, 4.4), layout='constrained')
    curve, scores = figure.subplots(1, 2)
    curve.plot(recall, precision, color=SHADES[2], linewidth=1.5)
    curve.set(xlabel='recall', ylabel='precision')
    for name, color, width in (('precision', SHADES[1], 1.2),
                               ('recall', 'C1', 1.2), ('F1', GREEN, 2)):
        scores.plot(sweep['threshold'], sweep[name], color=color, label=name,
                    linewidth=width)
    scores.set(xlabel='score threshold')
    marked = {}
    if len(sweep['F1']) and sweep['F1'].max() > 0:
        marked[f'best F1, at {best:g}'] = best, '*', GREEN
    if chosen != best:
        marked[f'chosen, {chosen:g}'] = chosen, 'o', RED
    for label, (threshold, marker, color) in marked.items():
        at = {name: np.interp(threshold, sweep['threshold'], values)
              for name, values in sweep.items()}
        style = dict(marker=marker, color=color, s=90, zorder=3)
        curve.scatter(at['recall'], at['precision'], label=label, **style)
        scores.scatter(threshold, at['F1'], **style)
        scores.axvline(threshold, color=color, linestyle='--', linewidth=1)
    for axes in (curve, scores):
        axes.set(xlim=(0, 1.01), ylim=(0, 1.03))
        axes.grid(alpha=0.3)
    if marked:
        curve.legend(loc='lower left', fontsize=9)
    scores.legend(loc='center left', bbox_to_anchor=(1, 0.5), fontsize=9,
                  frameon=False)
    figure.suptitle('boxes or masks of all classes; a hit has an IoU of at '
                    'least 0.5', fontsize='medium')
    figure.savefig(file, dpi=120)


def draw_errors(counts: Mapping[str, Sequence[int]], sizes: Sequence[str],
                title: str, file: str | Path) -> None:
    """Draw the number of errors of each kind, by the size of the box."""
    figure = Figure(figsize=(8, 0.9 + 0.42 * len(counts)),
                    layout='constrained')
    axes: Axes = figure.add_subplot()
    left = np.zeros(len(counts), int)
    kinds = list(counts)
    for index, size in enumerate(sizes):
        width = np.array([counts[kind][index] for kind in kinds])
        bars = axes.barh(kinds, width, left=left, color=SHADES[index],
                         label=size)
        left += width
    axes.bar_label(bars, [f' {total}' for total in left])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0, max(1, left.max()) * 1.1)
    axes.set_xlabel('errors')
    axes.set_title(title, fontsize='medium')
    axes.legend(fontsize=9, title='size', frameon=False,
                loc='center left', bbox_to_anchor=(1, 0.5))
    figure.savefig(file, dpi=120)
