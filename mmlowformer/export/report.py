"""Printing the results of an export."""
from ..runtime.schema import FAILED
from ..utils.console import show
from ..utils.text import line, short
from .comparison import Comparison
from .config import ExportResult
from .evaluation import primary_metric
from .speed import slower_note

COMPARISON_IMAGE = 'comparison.png'


def print_result(result: ExportResult) -> None:
    """Print comparisons, metric, speed and verdict."""
    by_image = [row for row in result.rows if row.where.endswith('images')]
    outputs = [row for row in result.rows if row not in by_image]
    for rows in filter(None, (outputs, *([row] for row in by_image))):
        show(line('Compared', _worst(rows)))
    if result.metrics:
        before, after = (primary_metric(result.metrics[whose])
                         for whose in ('checkpoint', 'export'))
        if before and after:
            show(line('Metric', f'{before[0]} {before[1]:.4f}, exported '
                      f'{after[1]:.4f}'))
    for item in result.speed:
        weights = f', {item["weights"]} weights' if item['weights'] else ''
        show(line('Speed', f'{item["milliseconds"]:.1f} ms an image, '
                  f'{item["name"]}{weights}'))
    if note := slower_note(result.speed):
        show(line('Note', note), 'yellow')
    reason = f' ({result.reason})' if result.reason else ''
    show(line('Result', f'{result.verdict}{reason}: {short(result.folder)}'),
         'red' if result.verdict == FAILED else 'green')


def _worst(rows: list[Comparison]) -> str:
    worst = max(rows, key=lambda row: (row.share, row.error))
    limit = '' if worst.limit is None else f' (allowed {worst.limit:g})'
    return (f'{worst.check}: largest difference {worst.error:.1e}{limit}, on '
            f'{", ".join(dict.fromkeys(row.where for row in rows))}')


def print_usage(results: list[ExportResult]) -> None:
    """Print where the comparison images are, and how to use an export."""
    usable = [result for result in results if result.verdict != FAILED]
    for result in usable:
        image = result.folder / COMPARISON_IMAGE
        if image.exists():
            show(line('Picture', short(image)))
    # Without comparisons, no runtime exists.
    runnable = [result for result in usable if result.rows]
    if runnable:
        show('Use it, without OpenMMLab:\n  python -m mmlowformer.runtime '
             f'{short(runnable[0].folder)} IMAGE')
