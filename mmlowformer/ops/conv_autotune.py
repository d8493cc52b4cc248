"""Which way to convolve is faster on this machine: measured, and remembered.

How far Winograd's algorithm pays depends on the instructions of a processor,
its caches, and the number of threads. So a convolution of each kind that comes
is timed both ways, once; the times are kept in a file.
"""
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from uuid import uuid4

import torch
from torch import nn

from ..errors import first_line
from ..utils.files import atomic_write
from .conv_heuristics import Size, pays_by_constants

# Nothing below these is worth being timed.
MIN_TIMED_CHANNELS = 32
MIN_TIMED_TILES = 16

# For maps of few tiles, as the small ones of a pyramid, oneDNN lays kernels
# out in another way than for the large ones. To be kept once more, in four
# times the memory of a weight, they have to save more than a little time.
FEW_TILES = 64
MIN_GAIN_OF_FEW = 1.1

ROUNDS = 5
# 64 MiB, more than caches hold. In a network weights come from memory, and
# Winograd's are four times as large.
EVICTING = 2**24
FILE = 'convolutions.json'
# Nothing can be written below it.
NO_FOLDER = Path(os.devnull)
Seconds = dict[str, float]


# A compiler asks, and keeps the answer.
@torch.compiler.assume_constant_result
def pays_here(in_channels: int, out_channels: int, images: int, height: int,
              width: int, dtype: torch.dtype = torch.float32) -> bool:
    """Whether Winograd's way was faster on this machine.

    The first convolution of its channels, with about as many tiles, is timed;
    the times are kept in ``mmlowformer/convolutions.json`` in the user's cache
    folder, by processor, number of threads, and version of torch. With few
    tiles a tenth has to be gained. Where that cannot be written, with a
    warning, or torch is told to be deterministic, the constants decide.
    """
    size = Size(in_channels, out_channels, images, height, width, dtype)
    if in_channels < MIN_TIMED_CHANNELS or size.tiles < MIN_TIMED_TILES:
        return False
    if torch.are_deterministic_algorithms_enabled():
        return pays_by_constants(*size)
    return _was_faster(size, torch.get_num_threads())


@cache
def _was_faster(size: Size, threads: int) -> bool:
    seconds = _seconds(size)
    if seconds is None:
        return pays_by_constants(*size)
    least_gain = MIN_GAIN_OF_FEW if size.tiles < FEW_TILES else 1.
    return seconds['winograd'] * least_gain < seconds['direct']


def _seconds(size: Size) -> Seconds | None:
    """What both ways took; none if that could not be remembered."""
    machine, kind = _machine(), _kind(size)
    known = _remembered(cache_file()).setdefault(machine, {})
    if kind not in known and _is_writable(cache_file()):
        known[kind] = time_both_ways(size)
        _remember(cache_file(), machine, known)
    return known.get(kind)


def _machine() -> str:
    capability = torch.backends.cpu.get_cpu_capability()
    return (f'{_processor()}, {capability}, {torch.get_num_threads()} threads,'
            f' torch {torch.__version__}')


@cache
def _processor() -> str:
    from ..utils.cpu import cpu_name
    return cpu_name()


def _kind(size: Size) -> str:
    """Sizes whose tiles are equally many, to a factor of two, are alike."""
    return (f'{size.in_channels} to {size.out_channels} channels, '
            f'{2**(size.tiles.bit_length() - 1)} tiles, '
            f'{str(size.dtype).removeprefix("torch.")}')


def cache_file() -> Path:
    """Where the times are kept."""
    folder = os.environ.get('XDG_CACHE_HOME')
    return Path(folder or _home() / '.cache', 'mmlowformer', FILE)


def _home() -> Path:
    try:
        return Path.home()
    # In containers, of users that the system does not know.
    except RuntimeError:
        return NO_FOLDER


@cache
def _remembered(file: Path) -> dict[str, dict[str, Seconds]]:
    try:
        # Opening a pipe would wait for somebody to write to it.
        text = file.read_text(encoding='utf-8') if file.is_file() else '{}'
        content = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return {}
    return {machine: {kind: seconds for kind, seconds in times.items()
                      if _are_seconds(seconds)}
            for machine, times in content.items()
            if isinstance(times, dict)} if isinstance(content, dict) else {}


def _are_seconds(value) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(way), float) for way in ('direct', 'winograd'))


@cache
def _is_writable(file: Path) -> bool:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # What is on a read-only disk, too.
        tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        _warn(file, error)
        return False
    return True


def _warn(file: Path, error: OSError) -> None:
    warnings.warn(
        f'how long convolutions take is not remembered: {file} cannot be '
        f'written ({error.strerror or first_line(error)}). Set '
        'XDG_CACHE_HOME to a folder that can be', stacklevel=2)


def _remember(file: Path, machine: str, known: dict[str, Seconds]) -> None:
    """Add to what other processes may have written meanwhile."""
    _remembered.cache_clear()
    content = _remembered(file)
    content.setdefault(machine, {}).update(known)
    try:
        _replace(file, content)
    # A full disk: it is known in this process.
    except OSError as error:
        _warn(file, error)


def _replace(file: Path, content: dict[str, dict[str, Seconds]]) -> None:
    # Other processes may do the same at this time.
    with (atomic_write(file, f'.{uuid4().hex}.part') as part,
          part.open('x', encoding='utf-8') as stream):
        json.dump(content, stream, indent=1)


def time_both_ways(size: Size) -> Seconds:
    """Time a convolution, directly and by Winograd's algorithm."""
    # Of weights made in inference mode no changes are counted.
    with torch.inference_mode(False), torch.no_grad():
        evicting = torch.zeros(EVICTING)
        return fewest_seconds(_ways(size), lambda way: evicting.add_(1))


def fewest_seconds(ways: Mapping[str, Callable[[], object]],
                   prepare: Callable[[Callable], object]) -> Seconds:
    """Time several ways in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, call in ways.items():
            prepare(call)
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in seconds.items()}


def _ways(size: Size) -> dict[str, Callable]:
    from .module_utils import to_channels_last
    from .packed_conv import PackedConv2d
    from .winograd_conv import WinogradConv2d
    conv = nn.Conv2d(size.in_channels, size.out_channels, 3, padding=1,
                     dtype=size.dtype)
    to_channels_last(conv)
    x = torch.randn(size.images, size.in_channels, size.height, size.width,
                    dtype=size.dtype).contiguous(
                        memory_format=torch.channels_last)
    return dict(
        direct=partial(PackedConv2d(conv), x),
        winograd=partial(WinogradConv2d(conv).convolve_tiles, x))
