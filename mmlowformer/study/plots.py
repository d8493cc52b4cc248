"""Charts of studies as PNG files."""
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter

from .block_sweep import fusion_gains
from .sweep import describe, grouped, rows_of

# For names with dollar signs.
PLAIN_TEXT = {'text.parse_math': False}
MARKERS = 'osD^v<>pPX*'
# Layers with a larger share of the time are named.
MIN_NAMED_SHARE = 0.04
# A share of all MACs that is too thin for a white edge.
THIN = 0.005


def _chart(study: dict, path: str, size: tuple[float, float],
           draw: Callable[[Figure], object], title: str = '') -> Path:
    figure = Figure(figsize=size, layout='constrained')
    draw(figure)
    figure.suptitle(title + describe(study), fontsize=9)
    figure.savefig(path, dpi=130)
    return Path(path)


def _log_axes(axes: Axes, **labels) -> None:
    """Logarithmic axes with plain numbers."""
    axes.set(xscale='log', yscale='log', **labels)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter('{x:g}')
        axis.set_minor_formatter(NullFormatter())


def _log_x_ticks(axes: Axes, values: Sequence[int]) -> None:
    axes.set_xscale('log')
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()


def _style(index: int) -> dict:
    """A color and a marker for each of many series."""
    return dict(color=f'C{index % 10}', marker=MARKERS[index // 10 * 3
                                                      + index % 3])


def draw_layers(study: dict, stem: Path) -> list[Path]:
    """Draw a study of building blocks."""
    rows = [row for row in rows_of(study)
            if not row['failure'] and row['macs']]
    drawn = []
    if rows:
        drawn.append(_chart(study, f'{stem}_time.png', (9, 6),
                            partial(_draw_time, rows)))
        lines = -(-len(grouped(rows, 'block_type')) // COLUMNS)
        drawn.append(_chart(study, f'{stem}_rates.png',
                            (2.1 * COLUMNS, 2.1 * lines + 0.6),
                            partial(_draw_rates, rows)))
    if fusion_gains(study):
        drawn.append(_chart(study, f'{stem}_fusing.png', (7, 4.5),
                            partial(_draw_fusing, study)))
    return drawn


def _draw_time(rows: list[dict], figure: Figure) -> None:
    axes = figure.subplots()
    for index, (name, members) in enumerate(
            grouped(rows, 'block_type').items()):
        axes.plot([row['times'] * row['macs'] / 1e6 for row in members],
                  [row['milliseconds'] for row in members], linestyle='',
                  markersize=5, alpha=0.8, label=name, **_style(index))
    _log_axes(axes, ylabel='time (ms)',
              xlabel='multiply-accumulates of the stack (M)')
    _draw_equal_rates(axes)
    figure.legend(loc='outside right upper', fontsize=8)


def _draw_equal_rates(axes: Axes) -> None:
    """Draw lines of equal GMAC/s."""
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    fastest = int(np.ceil(np.log10(high / bottom)))
    for exponent in range(-2, fastest + 1):
        rate = 10.**exponent
        axes.plot([low, high], [low / rate, high / rate], color='gray',
                  linewidth=0.7, zorder=0)
        # The label is at the right or upper end of the line.
        x = min(0.93 * high, 0.75 * top * rate)
        if low < x and bottom < x / rate < top:
            axes.text(x, x / rate, f'{rate:g} GMAC/s', fontsize=7,
                      color='gray', ha='right', va='bottom')
    axes.set(xlim=(low, high), ylim=(bottom, top))


# Heat maps in a row.
COLUMNS = 6


def _draw_rates(rows: list[dict], figure: Figure) -> None:
    """Draw a heat map for each block type, at the smallest batch size."""
    batch = min(row['batch_size'] for row in rows)
    rows = [row for row in rows if row['batch_size'] == batch]
    groups = grouped(rows, 'block_type')
    grid = figure.subplots(-(-len(groups) // COLUMNS), COLUMNS, squeeze=False,
                           sharex=True, sharey=True)
    channels = sorted({row['channels'] for row in rows})
    sizes = sorted({row['size'] for row in rows}, reverse=True)
    highest = max(row['gmacs_per_second'] for row in rows)
    for axes, (name, members) in zip(grid.flat, groups.items()):
        image = _draw_map(axes, members, channels, sizes, highest)
        axes.set_title(name, fontsize=8)
    for axes in list(grid.flat)[len(groups):]:
        axes.set_axis_off()
    figure.supxlabel(f'channels (batch size {batch})', fontsize=9)
    figure.supylabel('height and width', fontsize=9)
    figure.colorbar(image, ax=grid, label='GMAC/s', shrink=0.6)


def _draw_map(axes: Axes, rows: list[dict], channels: list[int],
              sizes: list[int], highest: float):
    values = np.full((len(sizes), len(channels)), np.nan)
    for row in rows:
        values[sizes.index(row['size']),
               channels.index(row['channels'])] = row['gmacs_per_second']
    image = axes.imshow(values, vmin=0, vmax=highest, cmap='viridis',
                        aspect='auto')
    axes.set_xticks(range(len(channels)), list(map(str, channels)),
                    fontsize=7)
    axes.set_yticks(range(len(sizes)), list(map(str, sizes)), fontsize=7)
    for (y, x), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(x, y, f'{value:.3g}', ha='center', va='center',
                      fontsize=6.5,
                      color='white' if value < highest * 0.6 else 'black')
    return image


def _draw_fusing(study: dict, figure: Figure) -> None:
    axes = figure.subplots()
    gains = fusion_gains(study)
    for index, gain in enumerate(gains):
        axes.plot(*zip(*sorted(gain.ratios.items())), markersize=5,
                  linestyle='-' if gain.batch_size == 1 else '--',
                  label=f'{gain.size}x{gain.size}, batch size '
                  f'{gain.batch_size}', **_style(index))
    axes.axhline(1, color='gray', linewidth=0.8)
    axes.set(xlabel='channels', ylabel='rate of fused over unfused MBConv\n'
             '(at equal MACs; above 1 fusing is faster)')
    axes.set_ylim(bottom=0)
    _log_x_ticks(axes, sorted({c for gain in gains for c in gain.ratios}))
    axes.legend(fontsize=8)


def draw_network(study: dict, stem: Path) -> list[Path]:
    """Draw the layers of a network: their efficiency gap and the roofline."""
    drawn = []
    for cell in study['cells']:
        if not any(row['macs'] for row in cell['rows']):
            continue
        key = cell['key']
        name = key['model'].replace(':', '_').replace('/', '_')
        title = (f'{key["model"]}, {key["size"]}x{key["size"]}, batch size '
                 f'{key["batch_size"]}; ')
        drawn += [_chart(study, f'{stem}_{name}_{kind}.png', (11, 5),
                         partial(draw, cell), title)
                  for kind, draw in (('gap', _draw_gap),
                                     ('roofline', _draw_roofline))]
    return drawn


def _draw_gap(cell: dict, figure: Figure) -> None:
    """Draw rectangles: width MACs, height 1 / efficiency, area time."""
    axes = figure.subplots()
    peak = cell['peak_macs_per_second']
    total = sum(row['milliseconds'] for row in cell['rows'])
    rows = [row for row in cell['rows'] if row['macs']]
    heights = [1e-3 * row['milliseconds'] * peak / row['macs']
               for row in rows]
    highest = _cut(heights, [row['macs'] for row in rows])
    kinds = list(grouped(rows, 'kind'))
    whole, left = sum(row['macs'] for row in rows) / 1e6, 0.
    for row, height in zip(rows, heights):
        width = row['macs'] / 1e6
        color = f'C{kinds.index(row["kind"]) % 10}'
        # White edges would cover thin rectangles.
        axes.add_patch(Rectangle(
            (left, 0), width, height, linewidth=0.5, facecolor=color,
            edgecolor='white' if width > THIN * whole else color))
        if row['milliseconds'] > MIN_NAMED_SHARE * total:
            axes.text(left + width / 2, 0.015 * highest, row['name'],
                      rotation=90, fontsize=6, ha='center', va='bottom')
        left += width
    axes.axhline(1, color='black', linewidth=0.8)
    axes.set(xlim=(0, left), ylim=(0, highest),
             xlabel='multiply-accumulates of the layers, in their order (M)',
             ylabel='1 / efficiency (1 is the peak)')
    rest = total - sum(row['milliseconds'] for row in rows)
    axes.set_title(f'areas are times: {total:.1f} ms in all, {rest:.1f} ms of '
                   'them in layers without multiply-accumulates, not drawn',
                   fontsize=8)
    axes.legend([Rectangle((0, 0), 1, 1, facecolor=f'C{index % 10}')
                 for index in range(len(kinds))], kinds, fontsize=8,
                loc='upper left', bbox_to_anchor=(1, 1))


def _cut(heights: Sequence[float], macs: Sequence[int]) -> float:
    """A height above all but thin rectangles."""
    order = np.argsort(heights)
    share = np.cumsum(np.array(macs)[order]) / sum(macs)
    return 1.3 * max(1.5, np.array(heights)[order][
        np.searchsorted(share, 0.99)])


def _draw_roofline(cell: dict, figure: Figure) -> None:
    axes = figure.subplots()
    peak = cell['peak_macs_per_second'] / 1e9
    bandwidth = cell['bytes_per_second'] / 1e9
    # Profilers round short times to 0.
    rows = [dict(row, intensity=row['macs'] / row['bytes'])
            for row in cell['rows']
            if row['macs'] and row['bytes'] and row['milliseconds']]
    for index, (kind, members) in enumerate(grouped(rows, 'kind').items()):
        axes.scatter(
            [row['intensity'] for row in members],
            [1e-6 * row['macs'] / row['milliseconds'] for row in members],
            s=[8 + 30 * row['milliseconds'] for row in members], alpha=0.6,
            color=f'C{index % 10}', label=kind)
    knee = peak / bandwidth
    low = min(row['intensity'] for row in rows) / 2
    high = 2 * max(knee, *(row['intensity'] for row in rows))
    axes.plot([low, knee, high], [low * bandwidth, peak, peak], color='black',
              linewidth=1)
    axes.text(high, peak, f'matrix products: {peak:.0f} GMAC/s ', ha='right',
              va='bottom', fontsize=8)
    axes.text(low, low * bandwidth * 1.6, f' copies: {bandwidth:.1f} GB/s',
              fontsize=8)
    _log_axes(axes, xlim=(low, high), ylabel='GMAC/s',
              xlabel='multiply-accumulates per byte that is read or written')
    axes.legend(fontsize=8, title='larger: more time', title_fontsize=8,
                loc='upper left', bbox_to_anchor=(1, 1))


def draw_resolution(study: dict, stem: Path) -> list[Path]:
    """Draw latency over the size of the images."""
    return [_chart(study, f'{stem}.png', (8, 5.5),
                   partial(_draw_latency, study))]


def _draw_latency(study: dict, figure: Figure) -> None:
    axes = figure.subplots()
    rows = [row for row in rows_of(study) if not row['failure']]
    for index, (name, members) in enumerate(grouped(rows, 'name').items()):
        axes.plot([row['size'] for row in members],
                  [row['milliseconds']['p50'] for row in members],
                  markersize=5, label=name, **_style(index))
    _log_axes(axes, xlabel='height and width of images',
              ylabel='latency (ms)')
    _log_x_ticks(axes, sorted({row['size'] for row in rows}))
    axes.grid(which='both', alpha=0.25)
    axes.legend(fontsize=8)


def draw_choice(study: dict, stem: Path) -> list[Path]:
    """Draw predicted against measured times of networks left out."""
    if 'held_out' not in study:
        return []
    return [_chart(study, f'{stem}.png', (10, 5),
                   partial(_draw_predictions, study['held_out']))]


def _draw_predictions(comparison: dict, figure: Figure) -> None:
    pair = figure.subplots(1, 2, sharex=True, sharey=True)
    rows = comparison['rows']
    times = [row['milliseconds'] for row in rows]
    ends = [min(times) * 0.8, max(times) * 1.25]
    for axes, key, title in zip(
            pair, ('predicted', 'line'),
            ('latency model', 'line through the MACs')):
        for index, (family, members) in enumerate(
                grouped(rows, 'family').items()):
            axes.plot([row['milliseconds'] for row in members],
                      [row[key] for row in members], linestyle='',
                      label=family, **_style(index))
        axes.plot(ends, ends, color='gray', linewidth=0.8)
        _log_axes(axes, xlabel='measured (ms)',
                  title=f'{title}: {comparison[key]:.1%} off')
        axes.grid(which='both', alpha=0.25)
    pair[0].set_ylabel('predicted when left out (ms)')
    pair[0].legend(fontsize=8)


DRAW = dict(layers=draw_layers, network=draw_network,
            resolution=draw_resolution, choose=draw_choice)
