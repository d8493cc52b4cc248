"""Peak memory of the GPU, or of the process on a CPU."""
import contextlib
import gc
from pathlib import Path

import torch

from ..utils.allocator import return_free_memory

_STATUS = Path('/proc/self/status')
_RESET = Path('/proc/self/clear_refs')
_SYSTEM = Path('/proc/meminfo')
# Of containers, by the two versions of cgroups.
_LIMITS = (Path('/sys/fs/cgroup/memory.max'),
           Path('/sys/fs/cgroup/memory/memory.limit_in_bytes'))


def _resident(key: str) -> int | None:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f'{key}:'):
                return int(line.split()[1]) * 1024
    return None


def _release_free_memory() -> None:
    """Return free memory to the system, so that its next use is measured."""
    gc.collect()
    return_free_memory()


def available_memory(device: str) -> int | None:
    """Bytes that can still be allocated, if the system tells it."""
    if device == 'cuda':
        return torch.cuda.mem_get_info()[0]
    sizes = [_limit(path) for path in _LIMITS]
    with contextlib.suppress(OSError):
        sizes.append(next(
            int(line.split()[1]) * 1024
            for line in _SYSTEM.read_text().splitlines()
            if line.startswith('MemAvailable:')))
    return min(filter(None, sizes), default=None)


def _limit(path: Path) -> int | None:
    """The limit of a container, which may be "max"."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None


class PeakMemory:
    """Measures the peak above the memory in use at the start, in bytes."""

    def __init__(self, device: str):
        self.device = device
        if device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
            self._before: int | None = torch.cuda.memory_allocated()
        else:
            _release_free_memory()
            with contextlib.suppress(OSError):
                # Linux resets the peak of the resident set.
                _RESET.write_text('5')
            self._before = _resident('VmRSS')

    def read(self) -> dict[str, int | None]:
        """``allocated`` and ``reserved`` on CUDA, ``rss`` on a CPU."""
        before = self._before or 0
        if self.device == 'cuda':
            return dict(
                allocated=torch.cuda.max_memory_allocated() - before,
                reserved=torch.cuda.max_memory_reserved())
        peak = _resident('VmHWM')
        if peak is None or self._before is None:
            return dict(rss=None)
        return dict(rss=max(0, peak - before))
