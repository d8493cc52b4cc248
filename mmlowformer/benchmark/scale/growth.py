"""How time and memory grow with the size, and tables of both."""
import math
from collections.abc import Iterator, Sequence

from ..report import markdown

# Differences below these, or below a share of the smallest size's, are noise.
NOISE = dict(seconds=0.05, mebibytes=2.)
SHARE = dict(seconds=0.05, mebibytes=0.01)
UNKNOWN = '–'
SIDES = ('tool', 'library')


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The k of ``values = a + b * sizes**k``; of two sizes, a is 0.

    It is exact for sizes with a common ratio, and for k = 1.
    """
    if len(sizes) == 2:
        return math.log(values[1] / values[0], sizes[1] / sizes[0])
    return math.log((values[2] - values[1]) / (values[1] - values[0]),
                    (sizes[2] - sizes[1]) / (sizes[1] - sizes[0]))


def growth(rows: Sequence[dict], key: str) -> str:
    """Describe the growth of three sizes: ``constant``, or ``n^1.02``."""
    sizes = [row['size'] for row in rows]
    values = [row[key] for row in rows]
    if len(set(sizes)) < 3:
        return UNKNOWN
    noise = _noise(rows, key)
    if values[2] - values[1] < noise:
        return 'constant' if key == 'mebibytes' else UNKNOWN
    if values[1] - values[0] < noise:
        return UNKNOWN
    return f'n^{exponent(sizes, values):.2f}'


def _noise(rows: Sequence[dict], key: str) -> float:
    return max(NOISE[key], SHARE[key] * rows[0][key])


def series(record: dict, case: str, side: str) -> list[dict]:
    """The measured rows of a case, by their sizes."""
    return sorted((row for row in record['rows']
                   if (row['case'], row['side']) == (case, side)
                   and 'failure' not in row), key=lambda row: row['size'])


def each_further(rows: Sequence[dict], key: str, unit: float) -> str:
    """Describe what an item costs, between the two largest sizes."""
    if len({row['size'] for row in rows}) < 2:
        return UNKNOWN
    last, largest = rows[-2:]
    difference, noise = largest[key] - last[key], _noise(rows, key)
    count = largest['size'] - last['size']
    if difference < noise:
        return f'< {unit * noise / count:.2g}'
    return f'{unit * difference / count:.3g}'


def estimate(record: dict, sizes: dict[str, int]) -> dict[str, float]:
    """Seconds that each case takes, one run after another.

    The time of larger sizes than the measured ones grows in proportion.
    """
    return {name: sum(_seconds(series(record, name, side), size)
                      for side in ('data', *SIDES))
            for name, size in sizes.items()}


def _seconds(rows: Sequence[dict], size: int) -> float:
    total = sum(row['seconds'] for row in rows)
    if len(rows) < 2 or size <= rows[-1]['size']:
        return total
    start, (last, largest) = rows[0]['seconds'], rows[-2:]
    each = max(0, (largest['seconds'] - last['seconds'])
               / (largest['size'] - last['size']))
    # Once more with a tenth, and with all.
    return total + 2 * start + 1.1 * each * size


SIZES_HEADER = ['what', 'size', 'CPU s', 'MiB', 'the library alone', 'CPU s',
                'MiB']
GROWTH_HEADER = [
    'what', 'CPU time', 'µs for each', 'memory', 'bytes for each',
    'library: CPU time', 'µs for each', 'memory', 'bytes for each']


def size_rows(record: dict) -> Iterator[list[str]]:
    """A row for each case and size."""
    for name, case in record['cases'].items():
        found = {(row['side'], row['size']): row for row in record['rows']
                 if row['case'] == name}
        for size in sorted({size for _, size in found}):
            cells = [_cells(found.get((side, size))) for side in SIDES]
            yield [case['title'], f'{size:,} {case["unit"]}s', *cells[0],
                   case['does'], *cells[1]]


def _cells(row: dict | None) -> list[str]:
    if row is None:
        return ['not measured', '']
    if 'failure' in row:
        return [f'failed: {row["failure"]}', '']
    return [f'{row["seconds"]:.1f}', f'{row["mebibytes"]:.0f}']


def growth_rows(record: dict) -> Iterator[list[str]]:
    """A row for each case: the laws of the tool and of the library."""
    for name, case in record['cases'].items():
        cells = [f'{case["title"]}, {case["unit"]}s']
        for side in SIDES:
            rows = series(record, name, side)
            for key, unit in dict(seconds=1e6, mebibytes=2**20).items():
                cells += [growth(rows, key), each_further(rows, key, unit)]
        yield cells


def tables(record: dict) -> list[str]:
    """Both tables in Markdown."""
    return [markdown(SIZES_HEADER, list(size_rows(record))),
            markdown(GROWTH_HEADER, list(growth_rows(record)))]
