"""Tables, files, comparisons and charts of measurements."""
import csv
import io
import itertools
import json
from pathlib import Path
from typing import Any

from ..errors import UserError, damage_errors, first_line, plain_label
from .options import FLAGS
from .run import SCHEMA

# Differences that do not affect a comparison.
HARMLESS = ('commit', 'packages.mmdet', 'packages.mmsegmentation')


def table_header(record: dict) -> list[str]:
    if record['settings']['mode'] == 'train':
        return ['model', 'parameters (M)', 'GMACs', 'images/s', 'ratio',
                'min (ms)', 'p50 (ms)', 'spread', 'memory (MiB)']
    return ['model', 'outputs', 'parameters (M)', 'GMACs', 'images/s', 'ratio',
            'min (ms)', 'p50 (ms)', 'p90 (ms)', 'p99 (ms)', 'spread',
            'GMACs/s', 'of peak', 'error', 'memory (MiB)']


def add_ratio_column(record: dict, header: list[str], rows: list[list[str]]
              ) -> tuple[list[str], list[list[str]]]:
    """Add a column of ratios to the first row."""
    place = header.index('images/s') + 1
    rates = [row.get('images_per_second') for row in record['rows']]
    first = next(filter(None, rates), None)
    return ([*header[:place], 'vs first', *header[place:]],
            [[*row[:place], f'{rate / first:.2f}', *row[place:]]
             if rate else row for row, rate in zip(rows, rates)])


def narrow(header: list[str], rows: list[list[str]]
           ) -> tuple[list[str], list[list[str]]]:
    """The columns that fit into 80 characters."""
    places = [header.index(name) for name in NARROW if name in header]
    return ([NARROW[header[place]] for place in places],
            [[row[place] for place in places] if len(row) == len(header)
             else [row[0], row[-1]] for row in rows])


# The columns at 80 characters, and their names there.
NARROW = {
    'model': 'model', 'GMACs': 'GMACs', 'images/s': 'images/s',
    'vs first': 'vs first', 'p50 (ms)': 'p50 ms', 'spread': 'spread',
    'memory (MiB)': 'MiB'}


def table_rows(record: dict) -> list[list[str]]:
    """One row of text for each model."""
    training = record['settings']['mode'] == 'train'
    first: dict[str, float] = {}
    for row in record['rows']:
        if not row['failure']:
            first.setdefault(_model(row), row['images_per_second'])
    return [_cells(row, training, first) for row in record['rows']]


def _model(row: dict) -> str:
    """The name without options and without timm's prefix."""
    return row['name'].split('@')[0].removeprefix('timm:')


def _cells(row: dict, training: bool, first: dict[str, float]) -> list[str]:
    cells = [row['name']]
    if not training:
        cells.append(_outputs(row))
    if row['failure']:
        return [*cells, f'failed: {row["failure"]}']
    cells += [_known(row['parameters'] / 1e6, '.2f'),
              _known(row['macs'] / 1e9, '.2f'),
              f'{row["images_per_second"]:.2f}',
              f'{row["images_per_second"] / first[_model(row)]:.2f}']
    spread = f'{row["spread"]:.1%}' + (' !' if row['unsteady'] else '')
    memory = next(iter(row['memory'].values()), None)
    megabytes = '–' if memory is None else f'{memory / 2**20:.0f}'
    times = [f'{value:.1f}' for value in row['milliseconds'].values()]
    if training:
        return [*cells, *times[:2], spread, megabytes]
    return [*cells, *times, spread,
            _known(row['macs_per_second'] / 1e9, '.1f'),
            _known(row['fraction_of_peak'], '.0%'), _errors(row), megabytes]


def _known(value: float, digits: str) -> str:
    """A number, or a dash: in an exported file nothing can be counted."""
    return f'{value:{digits}}' if value else '–'


def _errors(row: dict) -> str:
    """One error in float32, otherwise one for each output."""
    errors = row['errors']
    if row['options']['dtype'] == 'fp32':
        errors = [max(errors)]
    return '/'.join(f'{error:.0e}' for error in errors)


PROFILE_HEADER = ['model', 'operator', 'count', 'ms', 'share', 'GMACs/s',
                  'of peak']
# Operators with a smaller share of a call are not listed.
MIN_SHARE = 0.01


def profile_rows(record: dict) -> list[list[str]]:
    """One row for each kind of operator of each model."""
    return [line for row in record['rows'] if row.get('profile')
            for line in _profile_lines(row, record['peak'])]


def _profile_lines(row: dict, peaks: dict) -> list[list[str]]:
    total = sum(share['milliseconds'] for share in row['profile'])
    peak = peaks[row['options']['dtype']]['flops'] / 2e9
    lines = []
    for share in row['profile']:
        milliseconds = share['milliseconds']
        if milliseconds < MIN_SHARE * total:
            continue
        rate = share['macs'] / milliseconds / 1e6
        lines.append([
            row['name'], share['operator'], str(share['count']),
            f'{milliseconds:.1f}', f'{milliseconds / total:.1%}',
            *([f'{rate:.1f}', f'{rate / peak:.0%}'] if rate else ['–', '–'])])
    return lines


def _outputs(row: dict) -> str:
    strides = '/'.join(map(str, row.get('strides', [])))
    return strides if row['kind'] == 'feature pyramid' else \
        f'{row["kind"]} {strides}'.strip()


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ['---'] * len(header),
             *(row + [''] * (len(header) - len(row)) for row in rows)]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'


def tables(record: dict) -> list[str]:
    """Markdown tables of the measurement, and of its profiles if any."""
    found = [markdown(table_header(record), table_rows(record))]
    if profile := profile_rows(record):
        found.append(markdown(PROFILE_HEADER, profile))
    return found


def describe(record: dict) -> str:
    """Describe settings, machine and peak in a line."""
    settings = record['settings']
    options = settings['options']
    done = applied_options(settings)
    height, width = settings['shape']
    return (
        _incomplete(record) +
        f'{settings["mode"]}, {height}x{width}, batch size '
        f'{_batch_size(record)}, {options["dtype"]}, '
        f'{options["backend"]}{"".join(f", {name}" for name in done)}; '
        f'{describe_machine(record["environment"])}; peak '
        + ', '.join(f'{peak["flops"] / 2e9:.0f} GMACs/s {dtype}'
                    for dtype, peak in record['peak'].items()))


def describe_machine(environment: dict) -> str:
    """The device with its instructions, threads, torch and variables."""
    device, threads = environment['device'], environment['threads']
    if not environment.get('cuda'):
        device += f' ({environment["cpu_capability"]})'
    return (f'{device}, {threads} thread{"s" * (threads != 1)}, torch '
            f'{environment["packages"].get("torch")}'
            + ''.join(f', {name}={value}' for name, value
                      in environment['variables'].items()))


def applied_options(settings: dict) -> list[str]:
    """Names of the options that differ from eager execution."""
    options = settings['options']
    # Older files do not have all of them.
    done = [name for name in FLAGS if options.get(name)]
    # Older files do not have it.
    if settings.get('cpu_time'):
        done.append('processor time')
    if options['compile']:
        done.append(f'compile {options["compile"]}')
    return done


def _incomplete(record: dict) -> str:
    """A prefix for incomplete records; older files have no such key."""
    if record.get('complete', True):
        return ''
    return (f'INCOMPLETE, {record["rounds"]} of '
            f'{record["settings"]["repeats"]} rounds: ')


def _batch_size(record: dict) -> str:
    size, requested = (record['settings']['batch_size'],
                       record['requested_batch_size'])
    return f'{size}' if size == requested else \
        f'{size} (out of memory with {requested})'


def rounded(content: Any) -> Any:
    """Plain values for a file: lists, and numbers of seven digits."""
    return json.loads(json.dumps(content),
                      parse_float=lambda digits: float(f'{float(digits):.7g}'))


def as_json(content: dict) -> str:
    """JSON with one row per line, for readable diffs."""
    return _json_lines(rounded(content)) + '\n'


def _json_lines(value: Any, indent: str = '') -> str:
    if not _has_rows(value):
        return json.dumps(value)
    inside = f'{indent} '
    if isinstance(value, dict):
        items = [f'{json.dumps(key)}: {_json_lines(item, inside)}'
                 for key, item in value.items()]
    else:
        items = [_json_lines(item, inside) for item in value]
    first, last = '{}' if isinstance(value, dict) else '[]'
    lines = f',\n{inside}'.join(items)
    return f'{first}\n{inside}{lines}\n{indent}{last}'


def _has_rows(value: Any) -> bool:
    """Whether a value contains a list of dicts."""
    if isinstance(value, dict):
        return any(map(_has_rows, value.values()))
    return isinstance(value, list) and any(
        isinstance(item, dict) or _has_rows(item) for item in value)


def as_csv(record: dict) -> str:
    """CSV with a line for each model; nested values have columns."""
    rows = [flatten(row) for row in record['rows']]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def flatten(value: dict, prefix: str = '') -> dict:
    """Flatten nested dicts into keys with dots."""
    flattened = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flattened.update(flatten(item, f'{prefix}{key}.'))
        else:
            flattened[prefix + key] = ' '.join(map(str, item)) if isinstance(
                item, list) else item
    return flattened


def read(path: str) -> dict:
    """Read the JSON file of a measurement."""
    try:
        record = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} cannot be read: {first_line(error)}') \
            from error
    if not isinstance(record, dict) or record.get('schema') != SCHEMA:
        raise UserError(f'{path} is not a measurement of this version')
    return record


@damage_errors('the files cannot be compared, one is damaged')
def compare(one: dict, other: dict) -> tuple[list[list[str]], list[str]]:
    """Compare two measurements: ratios, and settings that differ."""
    rates = [{row['name']: row['images_per_second'] for row in record['rows']
              if not row['failure']} for record in (one, other)]
    rows = [[name, f'{rates[0][name]:.2f}', f'{rates[1][name]:.2f}',
             f'{rates[1][name] / rates[0][name]:.3f}']
            for name in rates[0] if name in rates[1]]
    first, second = (flatten(dict(settings=record['settings'],
                                **record['environment']))
                     for record in (one, other))
    differing = [
        f'{key}: {first.get(key)} and {second.get(key)}'
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key) and key not in HARMLESS]
    differing += [f'rounds: {_incomplete(record)}{name}' for record, name in
                  ((one, 'the first'), (other, 'the second'))
                  if _incomplete(record)]
    return rows, differing


def plot(record: dict, path: str) -> None:
    """Draw speed over multiply-accumulates and over parameters."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    from matplotlib.ticker import LogFormatter

    rows = [row for row in record['rows'] if not row['failure']]
    if not rows:
        raise UserError('--plot: no model was measured')
    latency = record['settings']['mode'] == 'latency'
    figure, axes = pyplot.subplots(1, 2, figsize=(13, 5.5), sharey=True,
                                   layout='constrained')
    labeled = []
    for axis, key, unit, label in zip(
            axes, ('macs', 'parameters'), (1e9, 1e6),
            ('multiply-accumulates (G)', 'parameters (M)')):
        # In exported files nothing can be counted.
        counted = [row for row in rows if row[key]]
        points = [(row[key] / unit, row['milliseconds']['p50'] if latency
                   else row['images_per_second']) for row in counted]
        labeled.append((axis, counted, points))
        _scatter(axis, counted, points)
        axis.set(xscale='log', yscale='log', xlabel=label)
        axis.grid(which='both', alpha=0.25)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(LogFormatter())
            side.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes[0].set_ylabel('latency (ms)' if latency else 'images/s')
    figure.legend(*axes[0].get_legend_handles_labels(),
                  loc='outside right upper', fontsize=8)
    figure.suptitle(describe(record), fontsize=9)
    figure.draw_without_rendering()
    # Labels need the final positions of the points.
    for axis, counted, points in labeled:
        _label(axis, counted, points)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _scatter(axis, rows: list[dict], points: list[tuple]) -> None:
    from matplotlib import colormaps

    families = list(dict.fromkeys(row['family'] for row in rows))
    number = 10 if len(families) <= 10 else 20
    colors = colormaps[f'tab{number}'](range(number))
    for family, color in zip(families, itertools.cycle(colors)):
        members = [point for row, point in zip(rows, points)
                   if row['family'] == family]
        axis.plot(*zip(*members), 'o', label=plain_label(family),
                  markersize=5, color=color)


# Offsets of a label from its point, and alignments of the text.
HORIZONTAL = {1: 'left', 0: 'center', -1: 'right'}
VERTICAL = {1: 'bottom', -1: 'top', 0: 'center'}
SIDES = [(distance * right, distance * up, HORIZONTAL[right], VERTICAL[up])
         for distance in (3, 9, 16)
         for right in HORIZONTAL for up in VERTICAL if right or up]


def _label(axis, rows: list[dict], points: list[tuple]) -> None:
    """Place labels so that they overlap neither each other nor a point."""
    from matplotlib.transforms import Bbox

    taken = [Bbox.from_bounds(x - 3, y - 3, 6, 6)
             for x, y in axis.transData.transform(points)]
    named = set()
    for row, point in zip(rows, points):
        name = row['name'].removeprefix('timm:')
        # A variant and timm's own have nearly the same position.
        if name in named:
            continue
        named.add(name)
        short = name.split(':')[-1].removeprefix('lowformer_')
        text = axis.annotate(plain_label(short), point, (0, 0),
                             textcoords='offset points', fontsize=7)
        for dx, dy, horizontal, vertical in SIDES:
            text.set(position=(dx, dy), ha=horizontal, va=vertical)
            box = text.get_window_extent().padded(1)
            if (box.x1 < axis.bbox.x1 and box.x0 > axis.bbox.x0
                    and not any(map(box.overlaps, taken))):
                break
        taken.append(box)
