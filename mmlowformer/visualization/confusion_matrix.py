"""Which classes are taken for which, as pictures."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..errors import printable

# More classes than this have no room for numbers, and more for no names.
NUMBERED, NAMED = 20, 60


def draw_confusion(counts: np.ndarray, classes: Sequence[str],
                   file: str | Path) -> None:
    """Write the confusion matrix as a picture."""
    side = min(16, 3 + 0.4 * len(classes))
    figure = Figure(figsize=(side + 1, side), layout='constrained')
    axes = figure.add_subplot()
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    image = axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    figure.colorbar(image, label="share of the class's images", shrink=0.8)
    axes.set_title(f'{int(np.trace(counts))} of {int(counts.sum())} images '
                   'right', fontsize='medium')
    axes.set_xlabel('predicted class')
    axes.set_ylabel('class')
    if len(classes) <= NAMED:
        # A dollar is no formula.
        names = list(map(printable, classes))
        axes.set_xticks(range(len(classes)), names, rotation=90,
                        parse_math=False)
        axes.set_yticks(range(len(classes)), names, parse_math=False)
    if len(classes) <= NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            axes.text(column, row, count, ha='center', va='center',
                      color='white' if shares[row, column] > 0.5 else 'black')
    figure.savefig(file, dpi=120)


def draw_accuracies(counts: np.ndarray, classes: Sequence[str],
                    file: str | Path) -> None:
    """Write the accuracy of each class as a picture, the worst on top."""
    totals = counts.sum(1)
    there = np.flatnonzero(totals)
    accuracies = 100 * counts.diagonal()[there] / totals[there]
    order = np.argsort(-accuracies, kind='stable')
    figure = Figure(figsize=(7, min(20, 1.5 + 0.28 * len(there))),
                    layout='constrained')
    axes = figure.add_subplot()
    bars = axes.barh(range(len(there)), accuracies[order])
    mean = 100 * np.trace(counts) / counts.sum()
    axes.axvline(mean, color='black', linestyle='--', linewidth=1)
    axes.set_title(f'accuracy by class; dashed: all images, {mean:.1f} %',
                   fontsize='medium')
    axes.set_xlim(0, 100)
    axes.set_xlabel('right, % (and number) of the images of the class')
    if len(there) <= NAMED:
        axes.set_yticks(range(len(there)),
                        [printable(classes[there[index]]) for index in order],
                        parse_math=False)
        axes.bar_label(bars, [
            f' {counts[there[index], there[index]]} of {totals[there[index]]}'
            for index in order])
        axes.set_xlim(0, 125)
        axes.set_xticks(range(0, 101, 20))
    figure.savefig(file, dpi=120)
