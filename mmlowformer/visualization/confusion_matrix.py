"""Pictures of the confusion matrix and of the accuracy by class."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..errors import printable

# Largest numbers of classes with room for numbers, and for names.
NUMBERED, NAMED = 20, 60
# Numbers too long for a cell.
LONG = 10**5


def draw_confusion(counts: np.ndarray, classes: Sequence[str],
                   file: str | Path, unit: str = 'images') -> None:
    """Draw the confusion matrix of images or pixels."""
    side = min(16, 3 + 0.4 * len(classes))
    figure = Figure(figsize=(side + 1, side), layout='constrained')
    axes = figure.add_subplot()
    fractions = counts / counts.sum(1, keepdims=True).clip(min=1)
    image = axes.imshow(fractions, cmap='Blues', vmin=0, vmax=1)
    figure.colorbar(image, label=f"fraction of the class's {unit}", shrink=0.8)
    right, total = int(np.trace(counts)), int(counts.sum())
    axes.set_title(f'{right:,} of {total:,} {unit} correct', fontsize='medium')
    axes.set(xlabel='predicted class', ylabel='class')
    if len(classes) <= NAMED:
        # Names may contain dollar signs.
        names = list(map(printable, classes))
        axes.set_xticks(range(len(classes)), names, rotation=90,
                        parse_math=False)
        axes.set_yticks(range(len(classes)), names, parse_math=False)
    if len(classes) <= NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            dark = fractions[row, column] > 0.5
            text = (f'{fractions[row, column]:.0%}'
                    if counts.max() >= LONG else count)
            axes.text(column, row, text, ha='center', va='center',
                      color='white' if dark else 'black')
    figure.savefig(file, dpi=120)


def draw_accuracies(counts: np.ndarray, classes: Sequence[str],
                    file: str | Path) -> None:
    """Draw the accuracy of each class, the worst on top."""
    totals, correct = counts.sum(1), counts.diagonal()
    present = np.flatnonzero(totals)
    accuracies = 100 * correct / totals.clip(min=1)
    order = present[np.argsort(-accuracies[present], kind='stable')]
    figure = Figure(figsize=(7, min(20, 1.5 + 0.28 * len(order))),
                    layout='constrained')
    axes = figure.add_subplot()
    bars = axes.barh(range(len(order)), accuracies[order])
    mean = 100 * np.trace(counts) / counts.sum()
    axes.axvline(mean, color='black', linestyle='--', linewidth=1)
    axes.set_title(f'accuracy by class; dashed: all images, {mean:.1f} %',
                   fontsize='medium')
    axes.set(xlabel='correct images of the class, % (and number)',
             xlim=(0, 100))
    if len(order) <= NAMED:
        axes.set_yticks(range(len(order)),
                        [printable(classes[index]) for index in order],
                        parse_math=False)
        axes.bar_label(bars, [f' {correct[index]} of {totals[index]}'
                              for index in order])
        axes.set_xlim(0, 125)
        axes.set_xticks(range(0, 101, 20))
    figure.savefig(file, dpi=120)
