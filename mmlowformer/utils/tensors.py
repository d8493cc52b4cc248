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


def relative_error(output: Tensor, target: Tensor) -> float:
    """Largest difference over the target's largest value.

    Values that are not finite in both do not differ.
    """
    same = (output == target) | (output.isnan() & target.isnan())
    largest = target.nan_to_num(0., 0., 0.).abs().max().clamp_min(1e-12)
    return ((output - target).abs().where(~same, 0.).max() / largest).item()


def tensors_in(value) -> list[Tensor]:
    """The tensors in lists, tuples and dicts; other values are skipped."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in tensors_in(item)] \
        if isinstance(value, (list, tuple)) else []
