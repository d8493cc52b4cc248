"""What the C library does with memory that was freed."""
import contextlib
import ctypes
import os

# Of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# The largest that all versions of glibc take for the second.
LARGEST_BLOCK = 32 * 2**20
LARGEST_REST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have glibc keep the blocks of a step for the next one.

    It gives large blocks back to the system at once, and each page of the
    next one faults again. What the environment says of this
    (``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``) stays as it is.
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
    """To the system: glibc keeps hundreds of MiB between what is in use."""
    # Other C libraries do not have it.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
