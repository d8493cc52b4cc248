"""Rates are found again; errors are those of networks held out."""
import random

import pytest

from mmlowformer.benchmark import memory
from mmlowformer.benchmark.models import Spec
from mmlowformer.benchmark.options import Settings
from mmlowformer.benchmark.run import benchmark
from mmlowformer.study.latency_model import (
    COSTS,
    costs_of,
    fit,
    leave_one_out,
    line_costs,
)
from mmlowformer.study.op_counter import Work
from mmlowformer.utils.timing import Timer

from ..benchmark.test_run import Costly, clock  # noqa: F401

# Of each cost; 0.1 ms for an operator.
SECONDS = (2e-11, 1.5e-11, 5e-11, 3e-11, 1e-9, 4e-10, 2e-10, 1e-4)


def works(count):
    """Networks of mixed operators."""
    pick = random.Random(0)
    return [Work(
        macs={kind: pick.randrange(10**7, 10**10) for kind in (
            'dense', '1x1', 'transposed', 'products')},
        elements={kind: pick.randrange(10**6, 10**9) for kind in (
            'depthwise', 'others')},
        weights=pick.randrange(10**6, 10**8),
        operators=pick.randrange(50, 500)) for _ in range(count)]


def seconds_of(work):
    return float(costs_of(work) @ SECONDS)


def test_fit_recovers_known_rates_from_a_fake_clock(clock,  # noqa: F811
                                                    monkeypatch):
    # Takes longer than these networks.
    monkeypatch.setattr(memory, '_release_free_memory', lambda: None)
    networks = works(len(COSTS) + 2)
    specs = [Spec(str(index), 'test',
                  lambda work=work: Costly(clock, seconds_of(work)))
             for index, work in enumerate(networks)]
    record = benchmark(specs, Settings(
        shape=(32, 32), batch_size=1, min_time=1., repeats=3), Timer(clock))
    rates = fit(
        [costs_of(work) for work in networks],
        [row['milliseconds']['p50'] / 1e3 for row in record['rows']], ridge=0)
    assert rates == pytest.approx(SECONDS, rel=1e-6)


def test_nothing_takes_negative_time():
    networks = works(6)
    assert (fit([costs_of(work) for work in networks],
                [5., 1., 3., 1., 4., 2.]) >= 0).all()


def test_held_out_errors():
    """Of networks whose MACs say little, each predicted by the others."""
    networks = works(30)
    seconds = [seconds_of(work) for work in networks]
    tested = [0, 7, 29]
    expected = [seconds[place] for place in tested]
    own, line = (
        abs(leave_one_out([costs(work) for work in networks], seconds, tested)
            / expected - 1)
        for costs in (costs_of, line_costs))
    assert own.mean() < 0.02
    assert line.mean() > 5 * own.mean()
    assert own.max() < 0.05


def test_what_was_held_out_is_not_known():
    """A network of another kind is missed, however it was measured."""
    networks = works(12)
    seconds = [seconds_of(work) for work in networks]
    costs = [costs_of(work) for work in networks]
    before = leave_one_out(costs, seconds, [3])
    seconds[3] *= 10
    after = leave_one_out(costs, seconds, [3])
    assert after == before
    assert after[0] / seconds[3] == pytest.approx(0.1, abs=0.01)


def test_costs_grow_with_the_batch_but_for_weights_and_operators():
    work = works(1)[0]
    one, four = costs_of(work, 1), costs_of(work, 4)
    assert four[:-2] == pytest.approx(4 * one[:-2])
    assert four[-2:] == pytest.approx(one[-2:])
