"""Keeping what libraries in other languages say from the terminal."""
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent(*descriptors: int) -> Iterator[None]:
    """Without what code that is not Python writes."""
    kept = {descriptor: os.dup(descriptor) for descriptor in descriptors
            if _is_open(descriptor)}
    try:
        with open(os.devnull, 'wb') as nowhere:
            for descriptor in kept:
                os.dup2(nowhere.fileno(), descriptor)
            yield
    finally:
        for descriptor, copied in kept.items():
            os.dup2(copied, descriptor)
            os.close(copied)


def _is_open(descriptor: int) -> bool:
    """Programs without a terminal may have none of them."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
