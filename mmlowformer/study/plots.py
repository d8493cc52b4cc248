"""Charts of studies as PNG files."""
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter

from .block_sweep import fusion_gains
from .sweep import describe, rows_of

# For names with dollar signs.
PLAIN_TEXT = {'text.parse_math': False}
MARKERS = 'osD^v<>pPX*'
# Layers with a larger share of the time are named.
MIN_NAMED_SHARE = 0.04
# A share of all MACs that is too thin for a white edge.
THIN = 0.005


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=130)
    return path


def _plain_numbers(axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter('{x:g}')
    axis.set_minor_formatter(NullFormatter())


def _style(index: int) -> dict:
    """A color and a marker for each of many series."""
    return dict(color=f'C{index % 10}', marker=MARKERS[index // 10 * 3
                                                      + index % 3])


def draw_layers(study: dict, stem: Path) -> list[Path]:
    """Draw a study of building blocks."""
    rows = [row for row in rows_of(study)
            if not row['failure'] and row['macs']]
    drawn = []
    for name, draw in (('time', _draw_time), ('rates', _draw_rates)):
        if rows:
            figure = draw(rows)
            figure.suptitle(describe(study), fontsize=9)
            drawn.append(_save(figure, Path(f'{stem}_{name}.png')))
    if fusion_gains(study):
        drawn.append(_save(_draw_fusing(study), Path(f'{stem}_fusing.png')))
    return drawn


def _draw_time(rows: list[dict]) -> Figure:
    figure = Figure(figsize=(9, 6), layout='constrained')
    axes = figure.subplots()
    for index, block_type in enumerate(_designs(rows)):
        points = [(row['times'] * row['macs'] / 1e6, row['milliseconds'])
                  for row in rows if row['block_type'] == block_type]
        axes.plot(*zip(*points), linestyle='', markersize=5, alpha=0.8,
                  label=block_type, **_style(index))
    axes.set(xscale='log', yscale='log', ylabel='time (ms)',
             xlabel='multiply-accumulates of the stack (M)')
    _draw_equal_rates(axes)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_numbers(axis)
    figure.legend(loc='outside right upper', fontsize=8)
    return figure


def _draw_equal_rates(axes: Axes) -> None:
    """Draw lines of equal GMAC/s."""
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    fastest = int(np.ceil(np.log10(high / bottom)))
    for exponent in range(-2, fastest + 1):
        rate = 10.**exponent
        axes.plot([low, high], [low / rate, high / rate], color='grey',
                  linewidth=0.7, zorder=0)
        # The label is at the right or upper end of the line.
        x = min(0.93 * high, 0.75 * top * rate)
        if low < x and bottom < x / rate < top:
            axes.text(x, x / rate, f'{rate:g} GMAC/s', fontsize=7,
                      color='grey', ha='right', va='bottom')
    axes.set(xlim=(low, high), ylim=(bottom, top))


def _designs(rows: Iterable[dict]) -> list[str]:
    return list(dict.fromkeys(row['block_type'] for row in rows))


def _draw_rates(rows: list[dict]) -> Figure:
    """Draw a heat map for each block type, at the smallest batch size."""
    batch = min(row['batch_size'] for row in rows)
    rows = [row for row in rows if row['batch_size'] == batch]
    block_types = _designs(rows)
    channels = sorted({row['channels'] for row in rows})
    sizes = sorted({row['size'] for row in rows}, reverse=True)
    columns = 6
    lines = -(-len(block_types) // columns)
    figure = Figure(figsize=(2.1 * columns, 2.1 * lines + 0.6),
                    layout='constrained')
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True,
                           sharey=True)
    rates = [row['gmacs_per_second'] for row in rows]
    for axes, block_type in zip(grid.flat, block_types):
        image = _draw_map(axes, [row for row in rows
                                 if row['block_type'] == block_type],
                          channels, sizes, max(rates))
        axes.set_title(block_type, fontsize=8)
    for axes in list(grid.flat)[len(block_types):]:
        axes.set_axis_off()
    figure.supxlabel(f'channels (batch size {batch})', fontsize=9)
    figure.supylabel('height and width', fontsize=9)
    figure.colorbar(image, ax=grid, label='GMAC/s', shrink=0.6)
    return figure


def _draw_map(axes: Axes, rows: list[dict], channels: list[int],
              sizes: list[int], highest: float):
    values = np.full((len(sizes), len(channels)), np.nan)
    for row in rows:
        place = sizes.index(row['size']), channels.index(row['channels'])
        values[place] = row['gmacs_per_second']
    image = axes.imshow(values, vmin=0, vmax=highest, cmap='viridis',
                        aspect='auto')
    axes.set_xticks(range(len(channels)), [str(c) for c in channels],
                    fontsize=7)
    axes.set_yticks(range(len(sizes)), [str(size) for size in sizes],
                    fontsize=7)
    for (y, x), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(x, y, f'{value:.3g}', ha='center', va='center',
                      fontsize=6.5,
                      color='white' if value < highest * 0.6 else 'black')
    return image


def _draw_fusing(study: dict) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout='constrained')
    axes = figure.subplots()
    for index, gain in enumerate(fusion_gains(study)):
        axes.plot(*zip(*sorted(gain.ratios.items())), markersize=5,
                  linestyle='-' if gain.batch_size == 1 else '--',
                  label=f'{gain.size}x{gain.size}, batch size '
                  f'{gain.batch_size}', **_style(index))
    axes.axhline(1, color='grey', linewidth=0.8)
    axes.set(xscale='log', xlabel='channels', ylabel='rate of fused over '
             'unfused MBConv\n(at equal work; above 1 fusing pays)')
    axes.set_ylim(bottom=0)
    channels = sorted({c for gain in fusion_gains(study) for c in gain.ratios})
    axes.set_xticks(channels, [str(c) for c in channels])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    figure.suptitle(describe(study), fontsize=9)
    return figure


def draw_network(study: dict, stem: Path) -> list[Path]:
    """Draw the layers of a network: their efficiency gap and the roofline."""
    drawn = []
    for cell in study['cells']:
        if not any(row['macs'] for row in cell['rows']):
            continue
        name = cell['key']['model'].replace(':', '_').replace('/', '_')
        for kind, draw in (('gap', _draw_gap), ('roofline', _draw_roofline)):
            figure = Figure(figsize=(11, 5), layout='constrained')
            draw(figure.subplots(), cell)
            figure.suptitle(
                f'{cell["key"]["model"]}, {cell["key"]["size"]}x'
                f'{cell["key"]["size"]}, batch size '
                f'{cell["key"]["batch_size"]}; {describe(study)}', fontsize=9)
            drawn.append(_save(figure, Path(f'{stem}_{name}_{kind}.png')))
    return drawn


def _draw_gap(axes: Axes, cell: dict) -> None:
    """Draw rectangles: width MACs, height 1 / efficiency, area time."""
    peak = cell['peak_macs_per_second']
    total = sum(row['milliseconds'] for row in cell['rows'])
    with_macs = [row for row in cell['rows'] if row['macs']]
    heights = [1e-3 * row['milliseconds'] * peak / row['macs']
               for row in with_macs]
    highest = _cut(heights, [row['macs'] for row in with_macs])
    kinds = list(dict.fromkeys(row['kind'] for row in with_macs))
    whole, left = sum(row['macs'] for row in with_macs) / 1e6, 0.
    for row, height in zip(with_macs, heights):
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
    rest = total - sum(row['milliseconds'] for row in with_macs)
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


def _draw_roofline(axes: Axes, cell: dict) -> None:
    peak = cell['peak_macs_per_second'] / 1e9
    bandwidth = cell['bytes_per_second'] / 1e9
    # Profilers round short times to 0.
    rows = [row for row in cell['rows']
            if row['macs'] and row['bytes'] and row['milliseconds']]
    kinds = list(dict.fromkeys(row['kind'] for row in rows))
    for index, kind in enumerate(kinds):
        members = [row for row in rows if row['kind'] == kind]
        axes.scatter(
            [row['macs'] / row['bytes'] for row in members],
            [1e-6 * row['macs'] / row['milliseconds'] for row in members],
            s=[8 + 30 * row['milliseconds'] for row in members], alpha=0.6,
            color=f'C{index % 10}', label=kind)
    low, high = axes.get_xlim()
    low = min(row['macs'] / row['bytes'] for row in rows) / 2
    high = max(2 * peak / bandwidth, 2 * max(
        row['macs'] / row['bytes'] for row in rows))
    knee = peak / bandwidth
    axes.plot([low, knee, high], [low * bandwidth, peak, peak], color='black',
              linewidth=1)
    axes.text(high, peak, f'matrix products: {peak:.0f} GMAC/s ', ha='right',
              va='bottom', fontsize=8)
    axes.text(low, low * bandwidth * 1.6, f' copies: {bandwidth:.1f} GB/s',
              fontsize=8)
    axes.set(xscale='log', yscale='log', xlim=(low, high),
             xlabel='multiply-accumulates per byte that is read or written',
             ylabel='GMAC/s')
    for axis in (axes.xaxis, axes.yaxis):
        _plain_numbers(axis)
    axes.legend(fontsize=8, title='larger: more time', title_fontsize=8,
                loc='upper left', bbox_to_anchor=(1, 1))


def draw_resolution(study: dict, stem: Path) -> list[Path]:
    """Draw latency over the size of the images."""
    figure = Figure(figsize=(8, 5.5), layout='constrained')
    axes = figure.subplots()
    lines: dict[str, list[tuple[int, float]]] = {}
    for cell in study['cells']:
        for row in cell['rows']:
            if not row['failure']:
                lines.setdefault(row['name'], []).append(
                    (cell['key']['size'], row['milliseconds']['p50']))
    for index, (name, points) in enumerate(lines.items()):
        axes.plot(*zip(*points), markersize=5, label=name, **_style(index))
    axes.set(xscale='log', yscale='log', xlabel='height and width of images',
             ylabel='latency (ms)')
    sizes = sorted({size for points in lines.values() for size, _ in points})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    _plain_numbers(axes.yaxis)
    axes.grid(which='both', alpha=0.25)
    axes.legend(fontsize=8)
    figure.suptitle(describe(study), fontsize=9)
    return [_save(figure, Path(f'{stem}.png'))]


def draw_choice(study: dict, stem: Path) -> list[Path]:
    """Draw predicted against measured times of networks left out."""
    if 'held_out' not in study:
        return []
    rows = study['held_out']['rows']
    figure = Figure(figsize=(10, 5), layout='constrained')
    pair = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, key, title in zip(
            pair, ('predicted', 'line'),
            ('latency model', 'line through the MACs')):
        for index, family in enumerate(dict.fromkeys(
                row['family'] for row in rows)):
            members = [row for row in rows if row['family'] == family]
            axes.plot([row['milliseconds'] for row in members],
                      [row[key] for row in members], linestyle='',
                      label=family, **_style(index))
        ends = [min(row['milliseconds'] for row in rows) * 0.8,
                max(row['milliseconds'] for row in rows) * 1.25]
        axes.plot(ends, ends, color='grey', linewidth=0.8)
        axes.set(xscale='log', yscale='log', xlabel='measured (ms)',
                 title=f'{title}: {study["held_out"][key]:.1%} off')
        for axis in (axes.xaxis, axes.yaxis):
            _plain_numbers(axis)
        axes.grid(which='both', alpha=0.25)
    pair[0].set_ylabel('predicted when left out (ms)')
    pair[0].legend(fontsize=8)
    figure.suptitle(describe(study), fontsize=9)
    return [_save(figure, Path(f'{stem}.png'))]


DRAW = dict(layers=draw_layers, network=draw_network,
            resolution=draw_resolution, choose=draw_choice)
