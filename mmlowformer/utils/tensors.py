"""Tensors in nested lists, tuples and dicts, and how they differ."""
import math
from collections.abc import Callable

import numpy as np
import torch
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


def relative_error(output: Tensor | np.ndarray,
                   target: Tensor | np.ndarray) -> float:
    """The largest difference over the largest value; infinity for a mismatch.

    A mismatch is another shape, or a value that is not finite in either.
    """
    # Arrays of a runtime may be read-only, so they are copied.
    output, target = (torch.tensor(x) if isinstance(x, np.ndarray) else x
                      for x in (output, target))
    if output.shape != target.shape:
        return math.inf
    if not target.numel():
        return 0.
    output, target = output.float(), target.to(output.device).float()
    largest = target.abs().max().clamp_min(1e-12)
    error = ((output - target).abs().max() / largest).item()
    return error if math.isfinite(error) else math.inf
