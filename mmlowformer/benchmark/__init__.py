"""Benchmark backbones and whole models side by side."""
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import benchmark

__all__ = ['benchmark']


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from .run import benchmark
    return benchmark
