"""Numbers are right, by a clock that only the models move."""
import itertools

import pytest

from mmlowformer.benchmark.timing import (
    Candidate,
    Timer,
    percentile,
    spread,
    take_turns,
    take_turns_call_by_call,
    warm_up,
)


class Clock:
    """Stands still unless something takes time."""

    def __init__(self):
        self.now = 0.
        self.log = []

    def __call__(self):
        return self.now

    def call(self, name, *costs):
        """Something that takes so long, call for call."""
        costs = itertools.chain(costs, itertools.repeat(costs[-1]))

        def run():
            self.log.append(name)
            self.now += next(costs)

        return run


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def timer(clock):
    return Timer(clock)


def test_seconds_of_one_call(clock, timer):
    candidate = Candidate(clock.call('a', 0.5), calls=4)
    take_turns([candidate], timer, 3)
    assert candidate.seconds == [0.5, 0.5, 0.5]
    assert len(clock.log) == 12


def test_models_take_turns(clock, timer):
    candidates = [Candidate(clock.call(name, 1), calls=2) for name in 'ab']
    take_turns(candidates, timer, 2)
    assert ''.join(clock.log) == 'aabbaabb'


def test_drift_hits_all_alike(clock, timer):
    """A machine that gets slower and slower does not change a ratio."""
    factor = itertools.count(1)

    def call(cost):
        def run():
            clock.now += cost * next(factor)
        return run

    fast, slow = Candidate(call(1)), Candidate(call(2))
    take_turns([fast, slow], timer, 101)
    ratio = slow.seconds[50] / fast.seconds[50]
    assert ratio == pytest.approx(2, rel=0.02)


def test_warm_up_is_not_counted(clock, timer):
    candidate = Candidate(clock.call('a', 90, 5, 1))
    warm_up(candidate, timer, min_calls=3, min_seconds=0, turn_seconds=8)
    assert candidate.calls == 8
    take_turns([candidate], timer, 1)
    assert candidate.seconds == [1]


def test_warm_up_by_calls_and_by_time(clock, timer):
    warm_up(Candidate(clock.call('a', 1)), timer, 2, 5.5, 1)
    assert len(clock.log) == 6
    warm_up(Candidate(clock.call('b', 1)), timer, 9, 5.5, 1)
    assert clock.log.count('b') == 9


def test_device_is_waited_for(clock):
    """Work that is only queued counts when the device has done it."""
    queued = []

    def synchronize():
        clock.now += sum(queued)
        queued.clear()

    timer = Timer(clock, synchronize)
    queued.append(100)  # somebody else's
    candidate = Candidate(lambda: queued.append(2), calls=3)
    take_turns([candidate], timer, 1)
    assert candidate.seconds == [2]


def test_percentiles_of_single_calls(clock, timer):
    candidate = Candidate(clock.call('a', *range(1, 101)), calls=25)
    take_turns_call_by_call([candidate], timer, 4)
    assert sorted(candidate.seconds) == list(range(1, 101))
    assert [percentile(candidate.seconds, p) for p in (50, 90, 99)] == [
        50, 90, 99]
    assert percentile([7.], 99) == 7


def test_spread():
    assert spread([2., 2., 2., 2.]) == 0
    assert spread([1., 2., 3., 4., 5.]) == pytest.approx(2 / 3)
    assert spread([3.]) == 0
