"""Predict the latency of a network from counts of its operators."""
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..utils.imports import need
from .op_counter import Work

# Kinds of operators whose MACs, or values moved, are counted together.
MACS = dict(dense=('dense', 'narrow dense'), pointwise=('1x1', 'narrow 1x1'),
            transposed=('transposed', ), products=('products', ))
VALUES = dict(depthwise=('depthwise', 'grouped'), others=('others',
                                                          'products'))
COSTS = (*(f'{name} macs' for name in MACS),
         *(f'{name} values' for name in VALUES), 'weights', 'operators')
# Pulls rates that the networks do not determine to 0.
RIDGE = 1e-3


def costs_of(work: Work, batch_size: int = 1) -> np.ndarray:
    """The numbers in :data:`COSTS` for a network."""
    each = [sum(work.macs.get(kind, 0) for kind in kinds)
            for kinds in MACS.values()]
    each += [sum(work.elements.get(kind, 0) for kind in kinds)
             for kinds in VALUES.values()]
    return np.array([*(batch_size * cost for cost in each), work.weights,
                     work.operators], float)


def line_costs(work: Work, batch_size: int = 1) -> np.ndarray:
    """The inputs of a linear fit to the MACs: their number, and 1."""
    return np.array([batch_size * sum(work.macs.values()), 1.])


def fit(costs: ArrayLike, seconds: ArrayLike,
        ridge: float = RIDGE) -> np.ndarray:
    """Seconds of one unit of each cost, with the least relative errors."""
    optimize = need('scipy.optimize', 'scipy')
    # A network of 5 ms counts as much as one of 500 ms.
    shares = np.array(costs) / np.array(seconds)[:, None]
    scale = shares.mean(0)
    scale[scale == 0] = 1
    count = len(scale)
    found, _ = optimize.nnls(
        np.vstack([shares / scale, ridge**0.5 * np.eye(count)]),
        np.concatenate([np.ones(len(shares)), np.zeros(count)]))
    return found / scale


def leave_one_out(costs: Sequence[np.ndarray], seconds: Sequence[float],
                  tested: Sequence[int]) -> np.ndarray:
    """Seconds of each tested network, by a fit to all others."""
    return np.array([
        costs[place] @ fit(np.delete(costs, place, 0),
                           np.delete(seconds, place)) for place in tested])
