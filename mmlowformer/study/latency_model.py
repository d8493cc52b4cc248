"""From what a network has to do to its time, fitted on measured networks."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..utils.imports import need
from .op_counter import Work

# Multiply-accumulates, or values moved, that are counted together.
MACS = dict(dense=('dense', 'narrow dense'), pointwise=('1x1', 'narrow 1x1'),
            transposed=('transposed', ), products=('products', ))
VALUES = dict(depthwise=('depthwise', 'grouped'), others=('others',
                                                          'products'))
COSTS = (*(f'{name} macs' for name in MACS),
         *(f'{name} values' for name in VALUES), 'weights', 'operators')
# Pulls rates that the networks do not tell apart to none.
RIDGE = 1e-3


def costs_of(work: Work, batch_size: int = 1) -> np.ndarray:
    """What the time of a network is put down to."""
    each = [sum(work.macs.get(kind, 0) for kind in kinds)
            for kinds in MACS.values()]
    each += [sum(work.elements.get(kind, 0) for kind in kinds)
             for kinds in VALUES.values()]
    return np.array([*(batch_size * cost for cost in each), work.weights,
                     work.operators], float)


def line_costs(work: Work, batch_size: int = 1) -> np.ndarray:
    """What a line of multiply-accumulates knows: their number, and 1."""
    return np.array([batch_size * sum(work.macs.values()), 1.])


@dataclass
class Predictor:
    """Seconds as a sum of costs, each at a rate of its own.

    Attributes:
        seconds (np.ndarray): Of each cost, for one of it.
    """

    seconds: np.ndarray

    def __call__(self, costs: np.ndarray) -> float:
        """The seconds of a network.

        Args:
            costs (np.ndarray): Of the network.

        Returns:
            float: Not to be shown without the error of the predictor.
        """
        return float(costs @ self.seconds)


def fit(costs: Sequence[np.ndarray], seconds: Sequence[float],
        ridge: float = RIDGE) -> Predictor:
    """Find rates for which relative errors are small."""
    optimize = need('scipy.optimize', 'scipy')
    # Relative: a network of 5 ms counts as much as one of 500.
    shares = np.array(costs) / np.array(seconds)[:, None]
    scale = shares.mean(0)
    scale[scale == 0] = 1
    count = len(scale)
    found, _ = optimize.nnls(
        np.vstack([shares / scale, ridge**0.5 * np.eye(count)]),
        np.concatenate([np.ones(len(shares)), np.zeros(count)]))
    return Predictor(found / scale)


@dataclass
class HeldOut:
    """How far predictions are off for networks that were held out.

    Attributes:
        predicted (list[float]): Seconds of each, predicted by what was
            fitted on the others.
        error (float): Mean of the relative errors.
        largest (float): The largest of them.
    """

    predicted: list[float]
    error: float
    largest: float


def hold_out(costs: Sequence[np.ndarray], seconds: Sequence[float],
             tested: Sequence[int]) -> HeldOut:
    """Predict each network by what was fitted on all others."""
    places = range(len(seconds))
    predicted = [
        fit([costs[other] for other in places if other != place],
            [seconds[other] for other in places if other != place])(
                costs[place])
        for place in tested]
    errors = [abs(guess / seconds[place] - 1)
              for guess, place in zip(predicted, tested)]
    return HeldOut(predicted, sum(errors) / len(errors), max(errors))
