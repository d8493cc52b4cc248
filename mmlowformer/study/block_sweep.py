"""Measure blocks of equal MACs over channels, resolutions and batch sizes."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..benchmark.models import Spec
from ..benchmark.options import DTYPES, Settings
from ..benchmark.run import BenchmarkProgress
from ..utils.timing import Timer
from .block_types import BLOCK_TYPES, StackPlan, common_work, plan
from .sweep import Measurement, measure_or_note, steps_of

CHANNELS = (32, 64, 128, 256, 512)
SIZES = (7, 14, 28, 56, 112)
BATCH_SIZES = (1, 8)
MAX_MACS = 1.5e9
FUSED, UNFUSED = 'fused MBConv', 'MBConv'


@dataclass(frozen=True)
class Grid:
    """The measured series."""

    channels: tuple[int, ...] = CHANNELS
    # Heights and widths of the feature maps.
    sizes: tuple[int, ...] = SIZES
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    block_types: tuple[str, ...] = tuple(BLOCK_TYPES)
    # Stacks with more multiply-accumulates in a call are left out.
    max_macs: float = MAX_MACS

    @property
    def points(self) -> list[tuple[int, int, int]]:
        """Batch size, channels and size of each measurement."""
        return [(batch, channels, size) for batch in self.batch_sizes
                for size in self.sizes for channels in self.channels
                if batch * common_work(channels, size) <= self.max_macs]


def measurements_of(grid: Grid, settings: Settings,
                    timer: Timer | None = None) -> list[Measurement]:
    """The measurements of a grid."""
    # Building and checking a stack takes as long as this part of a stack.
    fixed = 0.2 * max(batch * common_work(channels, size)
                      for batch, channels, size in grid.points)
    return [Measurement(
        dict(channels=channels, size=size, batch_size=batch),
        partial(_measure, grid.block_types, channels, size,
                replace(settings, shape=(size, size), batch_size=batch),
                timer),
        fixed + batch * common_work(channels, size),
        steps_of(len(grid.block_types), settings))
            for batch, channels, size in grid.points]


def _measure(block_types: Sequence[str], channels: int, size: int,
             settings: Settings, timer: Timer | None,
             progress: BenchmarkProgress) -> dict:
    plans = list(filter(None, (plan(block_type, channels, size)
                               for block_type in block_types)))
    specs = [Spec(stack.block_type, 'blocks', stack.build, channels=channels)
             for stack in plans]
    record = measure_or_note(specs, settings, timer, progress)
    itemsize = DTYPES[settings.options.dtype].itemsize
    return dict(
        complete=record['complete'], peak=record['peak'],
        common_macs=common_work(channels, size),
        rows=[_row(stack, row, itemsize)
              for stack, row in zip(plans, record['rows'])])


def _row(stack: StackPlan, measured: dict, itemsize: int) -> dict:
    row = dict(
        block_type=stack.block_type, blocks=stack.blocks, filled=stack.filled,
        times=stack.times, equal=stack.equal, failure=measured['failure'])
    if measured['failure']:
        return row
    batch = measured['batch_size']
    macs, moved = batch * stack.macs, stack.work.bytes_moved(batch, itemsize)
    return dict(
        row, macs=macs, parameters=measured['parameters'], bytes=moved,
        milliseconds=stack.times * measured['milliseconds']['p50'],
        gmacs_per_second=measured['macs_per_second'] / 1e9,
        of_peak=measured['fraction_of_peak'], macs_per_byte=macs / moved,
        spread=measured['spread'], batch_size=batch,
        steps=measured['steps'], errors=measured['errors'])


@dataclass(frozen=True)
class FusionGain:
    """Speedups of fused over unfused MBConv at equal MACs, at one size."""

    size: int
    batch_size: int
    # By channels, the rate of fused relative to unfused blocks.
    ratios: dict[int, float]

    @property
    def below(self) -> int | None:
        """Number of channels from which fusing is slower, or None."""
        return min((channels for channels, ratio in self.ratios.items()
                    if ratio <= 1), default=None)

    @property
    def advice(self) -> str:
        """Describe when fusing is faster."""
        channels = sorted(self.ratios)
        if self.below is None:
            advice = f'fuse, up to {channels[-1]} channels at least'
        elif self.below == channels[0]:
            advice = f'do not fuse, from {channels[0]} channels on'
        else:
            advice = f'fuse below {self.below} channels'
        measured = ', '.join(f'{self.ratios[c]:.2f} at {c}' for c in channels)
        return (f'{self.size}x{self.size}, batch size {self.batch_size}: '
                f'{advice} ({measured})')


def fusion_gains(study: dict) -> list[FusionGain]:
    """The speedup by fusing for each batch size and feature map size."""
    ratios: dict[tuple[int, int], dict[int, float]] = {}
    for cell in study['cells']:
        rates = {row['block_type']: row['gmacs_per_second']
                 for row in cell['rows'] if not row['failure']}
        if {FUSED, UNFUSED} <= rates.keys():
            key = cell['key']
            by_channels = ratios.setdefault(
                (key['batch_size'], key['size']), {})
            by_channels[key['channels']] = rates[FUSED] / rates[UNFUSED]
    return [FusionGain(size, batch, by_channels)
            for (batch, size), by_channels in sorted(ratios.items())]
