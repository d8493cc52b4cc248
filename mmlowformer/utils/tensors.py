"""Tensors in nested lists, tuples and dicts."""
from collections.abc import Callable

from torch import Tensor


def map_tensors(function: Callable[[Tensor], object], value):
    """Apply a function to each tensor in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: map_tensors(function, item)
                for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map_tensors(function, item) for item in value)
    raise TypeError(f'{type(value).__name__} is no tensor')


def tensors_in(value) -> list[Tensor]:
    """The tensors in lists, tuples and dicts; other values are skipped."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in tensors_in(item)] \
        if isinstance(value, (list, tuple)) else []
