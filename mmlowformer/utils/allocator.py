"""Tell glibc and Python what to do with freed memory."""
import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator

# Constants of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# The largest value that all versions of glibc accept for the second.
LARGEST_BLOCK = 32 * 2**20
LARGEST_REST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have glibc keep the blocks of a step for the next one.

    By default glibc returns large blocks to the system at once, and each page
    of the next block faults again. The environment variables
    ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` take precedence.
    """
    if {'MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_'} & set(os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all([mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK),
                mallopt(M_TRIM_THRESHOLD, LARGEST_REST)])


def return_free_memory() -> None:
    """Return freed memory to the system; glibc keeps hundreds of MiB."""
    # Other C libraries do not have it.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Keep Python from looking for cycles again and again.

    It takes 40 % of the time in which millions of objects are created.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
