"""Building blocks of equal work, over channels, resolutions and batches."""
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from ..benchmark.models import Spec
from ..benchmark.options import DTYPES
from ..benchmark.run import BenchmarkProgress, Settings
from ..utils.timing import Timer
from .block_designs import DESIGNS, Plan, common_work, plan
from .sweep import Cell, measure_or_note

CHANNELS = (32, 64, 128, 256, 512)
SIZES = (7, 14, 28, 56, 112)
BATCH_SIZES = (1, 8)
# Multiply-accumulates of a stack, for all images: above that a cell is left
# out.
MAX_MACS = 1.5e9
FUSED, UNFUSED = 'fused MBConv', 'MBConv'


@dataclass(frozen=True)
class Grid:
    """What is measured.

    Attributes:
        channels (tuple[int]): Channels of the blocks.
        sizes (tuple[int]): Heights and widths of their maps.
        batch_sizes (tuple[int]): Images in a call.
        designs (tuple[str]): Of :data:`.designs.DESIGNS`.
        max_macs (float): Multiply-accumulates of a call: where stacks have
            more, they are left out.
    """

    channels: tuple[int, ...] = CHANNELS
    sizes: tuple[int, ...] = SIZES
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    designs: tuple[str, ...] = tuple(DESIGNS)
    max_macs: float = MAX_MACS

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """Batch sizes, channels and sizes that are measured."""
        return [(batch, channels, size) for batch in self.batch_sizes
                for size in self.sizes for channels in self.channels
                if batch * common_work(channels, size) <= self.max_macs]


def cells_of(grid: Grid, settings: Settings,
             timer: Timer | None = None) -> list[Cell]:
    """The measurements of a grid."""
    # Building and checking a stack takes as long as so many calls of it.
    fixed = 0.2 * max(batch * common_work(channels, size)
                      for batch, channels, size in grid.places)
    steps = len(grid.designs) * (1 + settings.repeats) + settings.repeats
    return [Cell(dict(channels=channels, size=size, batch_size=batch),
                 partial(_measure, grid.designs, channels, size,
                         replace(settings, shape=(size, size),
                                 batch_size=batch), timer),
                 fixed + batch * common_work(channels, size), steps)
            for batch, channels, size in grid.places]


def _measure(designs: Sequence[str], channels: int, size: int,
             settings: Settings, timer: Timer | None,
             progress: BenchmarkProgress) -> dict:
    plans = [found for design in designs
             if (found := plan(design, channels, size))]
    specs = [Spec(found.design, 'designs', found.build, channels=channels)
             for found in plans]
    record = measure_or_note(specs, settings, timer, progress)
    itemsize = DTYPES[settings.options.dtype].itemsize
    return dict(
        complete=record['complete'], peak=record['peak'],
        common_macs=common_work(channels, size),
        rows=[_row(found, row, itemsize)
              for found, row in zip(plans, record['rows'])])


def _row(found: Plan, measured: dict, itemsize: int) -> dict:
    row = dict(
        design=found.design, blocks=found.blocks, filled=found.filled,
        times=found.times, equal=found.equal, failure=measured['failure'])
    if measured['failure']:
        return row
    batch = measured['batch_size']
    macs, moved = batch * found.macs, found.work.bytes_moved(batch, itemsize)
    return dict(
        row, macs=macs, parameters=measured['parameters'], bytes=moved,
        milliseconds=found.times * measured['milliseconds']['p50'],
        gmacs_per_second=measured['macs_per_second'] / 1e9,
        of_peak=measured['fraction_of_peak'], macs_per_byte=macs / moved,
        spread=measured['spread'], batch_size=batch,
        steps=measured['steps'], errors=measured['errors'])


@dataclass(frozen=True)
class Fusing:
    """Fused against unfused blocks, where one thing is the same.

    Attributes:
        size (int): Height and width of the maps.
        batch_size (int): Images in a call.
        ratios (dict[int, float]): By channels, the rate of multiply-
            accumulates of fused blocks over that of unfused ones: their time
            at equal work, turned over.
    """

    size: int
    batch_size: int
    ratios: dict[int, float]

    @property
    def below(self) -> int | None:
        """Fuse below so many channels; None if that pays with all."""
        slower = [channels for channels, ratio in sorted(self.ratios.items())
                  if ratio <= 1]
        return slower[0] if slower else None


def fusing(study: dict) -> list[Fusing]:
    """Where fusing pays at equal work."""
    ratios: dict[tuple[int, int], dict[int, float]] = {}
    for cell in study['cells']:
        rates = {row['design']: row['gmacs_per_second']
                 for row in cell['rows'] if not row['failure']}
        if {FUSED, UNFUSED} <= rates.keys():
            key = cell['key']
            place = ratios.setdefault((key['batch_size'], key['size']), {})
            place[key['channels']] = rates[FUSED] / rates[UNFUSED]
    return [Fusing(size, batch, found)
            for (batch, size), found in sorted(ratios.items())]


def findings(study: dict) -> list[str]:
    """What a designer of networks takes from it, in words."""
    return [f'{found.size}x{found.size}, batch size {found.batch_size}: '
            + _advice(found) for found in fusing(study)]


def _advice(found: Fusing) -> str:
    channels = sorted(found.ratios)
    measured = ', '.join(f'{found.ratios[c]:.2f} at {c}' for c in channels)
    if found.below is None:
        advice = f'fuse, up to {channels[-1]} channels at least'
    elif found.below == channels[0]:
        advice = f'do not fuse, from {channels[0]} channels on'
    else:
        advice = f'fuse below {found.below} channels'
    return f'{advice} ({measured})'


def plain_grid(grid: Grid) -> dict:
    """A grid as it stands in a file."""
    return asdict(grid)
