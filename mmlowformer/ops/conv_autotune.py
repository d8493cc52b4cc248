"""Whether to use Winograd convolution, by a measurement that is cached.

It depends on a processor's instructions and caches, and on the number of
threads. So both algorithms are timed once for each kind of convolution, and
the times are kept in a file.
"""
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from uuid import uuid4

import torch
from torch import nn

from ..errors import first_line
from ..utils.device import cpu_name
from ..utils.files import atomic_write
from ..utils.timing import Timer
from .conv_heuristics import ConvSize, use_winograd_by_heuristic
from .module_utils import to_channels_last
from .packed_conv import PackedConv2d
from .winograd_conv import WinogradConv2d

# Smaller convolutions are not worth timing.
MIN_TIMED_CHANNELS = 32
MIN_TIMED_TILES = 16

# For few tiles, as in the last levels of a pyramid, oneDNN packs kernels in
# another layout. A second copy, four times as large as the weight, has to save
# more than a little time.
FEW_TILES = 64
MIN_SPEEDUP_FOR_FEW_TILES = 1.1

ROUNDS = 5
# 64 MiB, more than caches hold. In a network weights come from memory, and
# Winograd's are four times as large.
EVICTING = 2**24
FILE = 'convolutions.json'
Seconds = dict[str, float]


# A compiler calls it once and keeps the result.
@torch.compiler.assume_constant_result
def use_winograd_by_measurement(*size) -> bool:
    """Decide by the fields of ``ConvSize``, as measured on this machine.

    The times are kept in ``mmlowformer/convolutions.json`` in the user's cache
    folder, by processor, number of threads and version of torch. Fixed
    thresholds decide instead if torch is set to be deterministic, or, with a
    warning, if that file cannot be written.
    """
    conv = ConvSize(*size)
    if (conv.in_channels < MIN_TIMED_CHANNELS
            or conv.tiles < MIN_TIMED_TILES):
        return False
    if torch.are_deterministic_algorithms_enabled():
        return use_winograd_by_heuristic(*conv)
    return _was_faster(conv, torch.get_num_threads())


@cache
def _was_faster(conv: ConvSize, threads: int) -> bool:
    machine, kind, file = _machine(), _kind(conv), cache_file()
    times = _load(file).setdefault(machine, {})
    if kind not in times:
        if not _is_writable(file):
            return use_winograd_by_heuristic(*conv)
        times[kind] = time_algorithms(conv)
        _save(file, machine, times)
    speedup = MIN_SPEEDUP_FOR_FEW_TILES if conv.tiles < FEW_TILES else 1.
    return times[kind]['winograd'] * speedup < times[kind]['direct']


def _machine() -> str:
    capability = torch.backends.cpu.get_cpu_capability()
    return (f'{cpu_name()}, {capability}, {torch.get_num_threads()} threads,'
            f' torch {torch.__version__}')


def _kind(conv: ConvSize) -> str:
    """Numbers of tiles within a factor of two count as the same."""
    return (f'{conv.in_channels} to {conv.out_channels} channels, '
            f'{2**(conv.tiles.bit_length() - 1)} tiles, '
            f'{str(conv.dtype).removeprefix("torch.")}')


def cache_file() -> Path:
    """The file that keeps the times."""
    folder = os.environ.get('XDG_CACHE_HOME')
    try:
        return Path(folder or Path.home() / '.cache', 'mmlowformer', FILE)
    # In containers, for users that the system does not know.
    except RuntimeError:
        return Path(os.devnull, FILE)  # Cannot be written.


@cache
def _load(file: Path) -> dict[str, dict[str, Seconds]]:
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
        isinstance(value.get(name), float) for name in ('direct', 'winograd'))


@cache
def _is_writable(file: Path) -> bool:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The folder may exist on a read-only disk.
        tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        _warn(file, error)
        return False
    return True


def _warn(file: Path, error: OSError) -> None:
    warnings.warn(
        f'{file} cannot be written ({error.strerror or first_line(error)}), '
        'so convolution timings are not cached: set XDG_CACHE_HOME to a '
        'writable folder', stacklevel=2)


def _save(file: Path, machine: str, times: dict[str, Seconds]) -> None:
    """Add to what other processes may have written meanwhile."""
    _load.cache_clear()
    content = _load(file)
    content.setdefault(machine, {}).update(times)
    try:
        # Other processes may do the same at this time.
        with (atomic_write(file, f'.{uuid4().hex}.part') as part,
              part.open('x', encoding='utf-8') as stream):
            json.dump(content, stream, indent=1)
    # A full disk: this process still knows the times.
    except OSError as error:
        _warn(file, error)


def time_algorithms(conv: ConvSize) -> Seconds:
    """Time a direct and a Winograd convolution."""
    # Changes of weights made in inference mode are not counted.
    with torch.inference_mode(False), torch.no_grad():
        evicting = torch.zeros(EVICTING)
        return best_times(_algorithms(conv), lambda call: evicting.add_(1))


def best_times(calls: Mapping[str, Callable[[], object]],
               prepare: Callable[[Callable], object]) -> Seconds:
    """Time calls in turns, and take the least seconds of each."""
    timer = Timer()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            prepare(call)
            seconds[name].append(timer.measure(call))
    return {name: min(values) for name, values in seconds.items()}


def _algorithms(conv: ConvSize) -> dict[str, Callable]:
    module = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1,
                       dtype=conv.dtype)
    to_channels_last(module)
    x = torch.randn(conv.images, conv.in_channels, conv.height, conv.width,
                    dtype=conv.dtype).contiguous(
                        memory_format=torch.channels_last)
    return dict(
        direct=partial(PackedConv2d(module), x),
        winograd=partial(WinogradConv2d(module).convolve_tiles, x))
