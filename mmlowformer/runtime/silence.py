"""Suppressing terminal output of libraries that are not written in Python."""
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def silent(*descriptors: int) -> Iterator[None]:
    """Redirect file descriptors to nowhere."""
    kept: dict[int, int] = {}
    for descriptor in descriptors:
        # Programs without a terminal may lack them.
        with suppress(OSError):
            kept[descriptor] = os.dup(descriptor)
    try:
        with open(os.devnull, 'wb') as nowhere:
            for descriptor in kept:
                os.dup2(nowhere.fileno(), descriptor)
            yield
    finally:
        for descriptor, copied in kept.items():
            os.dup2(copied, descriptor)
            os.close(copied)
