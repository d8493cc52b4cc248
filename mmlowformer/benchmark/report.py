"""Tables, comparisons and charts of measurements."""
import itertools

from ..errors import UserError, damage_errors, plain_label
from .options import FLAGS
from .record import HARMLESS, flatten


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
    return ([*header[:place], 'vs first', *header[place:]],
            [[*cells[:place], _ratio(relative), *cells[place:]]
             if len(cells) == len(header) else cells
             for cells, relative in zip(rows, relative_rates(record))])


def relative_rates(record: dict) -> list[float | None]:
    """Images/s relative to the first model, measured in the same group."""
    measured = [row for row in record['rows'] if not row['failure']]
    # Older files have a single group.
    firsts = {row.get('group'): row['images_per_second'] for row in measured
              if row['name'] == measured[0]['name']}
    return [None if row['failure'] or row.get('group') not in firsts else
            row['images_per_second'] / firsts[row.get('group')]
            for row in record['rows']]


def _ratio(value: float | None) -> str:
    return '–' if value is None else f'{value:.2f}'


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
    rows = []
    for row, rate in zip(record['rows'], relative_rates(record)):
        ratio = rate and rate / first.setdefault(_model(row), rate)
        rows.append(_cells(row, training, _ratio(ratio)))
    return rows


def _model(row: dict) -> str:
    """The name without options and without timm's prefix."""
    return row['name'].split('@')[0].removeprefix('timm:')


def _cells(row: dict, training: bool, ratio: str) -> list[str]:
    cells = [row['name']]
    if not training:
        cells.append(_outputs(row))
    if row['failure']:
        return [*cells, f'failed: {row["failure"]}']
    cells += [_known(row['parameters'] / 1e6, '.2f'),
              _known(row['macs'] / 1e9, '.2f'),
              f'{row["images_per_second"]:.2f}', ratio]
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
                    for dtype, peak in record['peak'].items())
        + _describe_groups(record))


def _describe_groups(record: dict) -> str:
    """How models are compared that do not fit into memory together."""
    count = _groups(record)
    if count < 2:
        return ''
    first = next(row['name'] for row in record['rows'] if not row['failure'])
    return (f'; {count} groups of models, one after the other: ratios are to '
            f'{first} in the same group')


def _groups(record: dict) -> int:
    # Older files have a single group.
    return max((row.get('group', 1) for row in record['rows']), default=1)


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
    count = _groups(record)
    return (f'INCOMPLETE, {record["rounds"]} of '
            f'{record["settings"]["repeats"]} rounds'
            f'{f" of group {count}" if count > 1 else ""}: ')


def _batch_size(record: dict) -> str:
    size, requested = (record['settings']['batch_size'],
                       record['requested_batch_size'])
    return f'{size}' if size == requested else \
        f'{size} (out of memory with {requested})'


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
