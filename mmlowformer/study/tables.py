"""Tables of studies for the screen, Markdown and CSV."""
from collections.abc import Iterable
from dataclasses import dataclass

from ..benchmark.record import as_csv
from ..benchmark.report import markdown
from ..utils.timing import WIDE_SPREAD
from .architecture_search import ACCURACIES
from .block_sweep import fusion_gains
from .block_types import BLOCK_TYPES, NETWORK_BLOCKS
from .sweep import describe, grouped, rows_of

# Layers of a network that are listed.
MAX_LAYERS = 12
# Columns of rates that fit into 80 characters.
MAX_COLUMNS = 6


@dataclass
class Table:
    """A table with a title."""

    title: str
    header: list[str]
    rows: list[list[str]]


def _tables_of_layers(study: dict) -> list[Table]:
    rows = [row for row in rows_of(study) if not row['failure']]
    found = []
    for batch in dict.fromkeys(row['batch_size'] for row in rows):
        here = [row for row in rows if row['batch_size'] == batch]
        found.append(_matrix(
            f'GMAC/s, batch size {batch} (* a single block with other MACs)',
            [row for row in here if row['macs']],
            lambda row: f'{row["gmacs_per_second"]:.3g}'
            + '*' * (not row['equal'])))
        found.append(_matrix(
            f'ms of one block, with its share of fillers, batch size {batch}',
            [row for row in here
             if row['macs'] and row['block_type'] in NETWORK_BLOCKS],
            lambda row: '{:.2f}'.format(
                row['milliseconds'] / row['times'] / row['blocks'])))
        found.append(_matrix(
            f'GB/s, batch size {batch}',
            [row for row in here if not row['macs']],
            lambda row: f'{1e-6 * row["bytes"] / row["milliseconds"]:.3g}'))
    return [table for table in found if table.rows]


def _matrix(title: str, rows: list[dict], show) -> Table:
    points = sorted({(row['channels'], row['size']) for row in rows})
    cells = {(row['block_type'], row['channels'], row['size']): show(row)
             for row in rows}
    measured = {row['block_type'] for row in rows}
    return Table(
        title, ['block', *(f'{c}@{size}' for c, size in points)],
        [[name, *(cells.get((name, *point), '–') for point in points)]
         for name in BLOCK_TYPES if name in measured])


def fitting(table: Table) -> Table:
    """The columns of a table of rates that fit into 80 characters."""
    if len(table.header) <= MAX_COLUMNS + 1:
        return table
    last = {name.partition('@')[0]: place
            for place, name in enumerate(table.header) if '@' in name}
    places = [0, *list(last.values())[:MAX_COLUMNS]]
    return Table(table.title, [table.header[i] for i in places],
                 [[row[i] for i in places] for row in table.rows])


def _tables_of_network(study: dict) -> list[Table]:
    return [table for cell in study['cells'] for table in _of_network(cell)]


def _of_network(cell: dict) -> list[Table]:
    key, peak = cell['key'], cell['peak_macs_per_second']
    total = sum(row['milliseconds'] for row in cell['rows'])
    title = (f'{key["model"]}, {key["size"]}x{key["size"]}, batch size '
             f'{key["batch_size"]}: {cell["milliseconds"]:.1f} ms a call, '
             f'{cell["watched_milliseconds"]:.1f} while layers are timed; '
             f'peak {peak / 1e9:.0f} GMAC/s, '
             f'{cell["bytes_per_second"] / 1e9:.1f} GB/s')
    summed = [dict(name=f'{kind} ({len(members)})',
                   macs=sum(row['macs'] for row in members),
                   milliseconds=sum(row['milliseconds'] for row in members))
              for kind, members in grouped(cell['rows'], 'kind').items()]
    header = ['layers', 'MMACs', 'ms', 'share', 'GMAC/s', 'of peak']
    return [Table(text, header, [
        _layer(row, total, peak) for row in sorted(
            rows, key=lambda row: -row['milliseconds'])[:MAX_LAYERS]])
            for text, rows in ((title, summed),
                               ('The layers that take most', cell['rows']))]


def _layer(row: dict, total: float, peak: float) -> list[str]:
    # Profilers round short times to 0.
    rate = (1e3 * row['macs'] / row['milliseconds']
            if row['macs'] and row['milliseconds'] else 0)
    return [row['name'], f'{row["macs"] / 1e6:.1f}',
            f'{row["milliseconds"]:.2f}', f'{row["milliseconds"] / total:.1%}',
            *([f'{rate / 1e9:.1f}', f'{rate / peak:.0%}'] if rate else
              ['–', '–'])]


def _tables_of_resolution(study: dict) -> list[Table]:
    rows = rows_of(study)
    sizes = list(dict.fromkeys(row['size'] for row in rows))
    times = {(row['name'], row['size']): _time(row) for row in rows}
    names = list(dict.fromkeys(row['name'] for row in rows))
    return [Table('Latency in ms (! spread above 5 %)',
                  ['model', *map(str, sizes)],
                  [[name, *(times.get((name, size), '–') for size in sizes)]
                   for name in names])]


def _time(row: dict) -> str:
    if row['failure']:
        return 'failed'
    wide = ' !' if row['spread'] > WIDE_SPREAD else ''
    return f'{row["milliseconds"]["p50"]:.1f}{wide}'


def _tables_of_choice(study: dict) -> list[Table]:
    if 'held_out' not in study:
        return []
    held = study['held_out']
    return [
        Table('Within the budget when measured again',
              ['budget', 'network', 'ms', 'top-1 (%)', 'predicted'],
              [line for choice in study.get('choices', ()) for line in
               _choice(choice, study['predictions'], held['predicted'])]),
        Table('Relative errors for networks that were left out',
              ['prediction by', 'mean', 'largest'],
              [[name, f'{held[key]:.1%}', f'{held[f"{key}_largest"]:.1%}']
               for name, key in (('latency model', 'predicted'),
                                 ('line through the MACs', 'line'))])]


def _choice(choice: dict, predicted: dict[str, float],
            error: float) -> Iterable[list[str]]:
    budget = f'{choice["budget"]:g} ms'
    if not choice['names']:
        yield [budget, 'none', '–', '–', '–']
    for name in choice['names']:
        guess = (f'{predicted[name]:.1f} ±{error:.0%}' if name in predicted
                 else '–')
        yield [budget, name, f'{choice["milliseconds"][name]:.1f}',
               str(ACCURACIES.get(name, 'not known')), guess]


TABLES = dict(layers=_tables_of_layers, network=_tables_of_network,
              resolution=_tables_of_resolution, choose=_tables_of_choice)


def tables_of(study: dict) -> list[Table]:
    """All tables of a study."""
    return TABLES[study['study']](study)


def lines_of(study: dict) -> list[str]:
    """The text below the tables."""
    gains = fusion_gains(study) if study['study'] == 'layers' else []
    return ['When to fuse an MBConv, at equal MACs (in brackets: rate fused '
            'over unfused):', *(gain.advice for gain in gains)
            ] if gains else []


def as_markdown(study: dict) -> str:
    """All tables and texts of a study in Markdown."""
    parts = [f'{describe(study)}\n']
    parts += [f'{table.title}\n\n{markdown(table.header, table.rows)}'
              for table in tables_of(study)]
    if lines := lines_of(study):
        parts.append(f'{lines[0]}\n\n' + ''.join(
            f'- {line}\n' for line in lines[1:]))
    return '\n'.join(parts)


def csv_of(study: dict) -> str:
    """All rows of a study as CSV."""
    return as_csv(dict(rows=rows_of(study)))
