"""Peak memory of the GPU, or of the process on a CPU."""
import contextlib
import gc
from pathlib import Path

import torch

from ..utils.allocator import return_free_memory

_STATUS = Path('/proc/self/status')
_RESET = Path('/proc/self/clear_refs')


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
