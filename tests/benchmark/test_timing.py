"""Numbers are right, by a clock that only the models move."""
import itertools

import pytest
import torch

from mmlowformer.utils.timing import (
    Candidate,
    CudaTimer,
    Timer,
    interleave,
    percentile,
    relative_iqr,
    time_each_call,
    time_window,
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
    interleave([candidate], timer, 3)
    assert candidate.seconds == [0.5, 0.5, 0.5]
    # Four that count, after one that does not.
    assert len(clock.log) == 15


def test_first_call_of_a_turn_does_not_count(clock, timer):
    """It pays for what the model before has left behind."""
    candidate = Candidate(clock.call('a', 9, 1, 1, 9, 1, 1), calls=2)
    interleave([candidate], timer, 2)
    assert candidate.seconds == [1, 1]


def test_models_take_turns(clock, timer):
    candidates = [Candidate(clock.call(name, 1), calls=2) for name in 'ab']
    interleave(candidates, timer, 2)
    assert ''.join(clock.log) == 'aaabbbaaabbb'


def test_drift_hits_all_alike(clock, timer):
    """A machine that gets slower and slower does not change a ratio."""
    factor = itertools.count(1)

    def call(cost):
        def run():
            clock.now += cost * next(factor)
        return run

    fast, slow = Candidate(call(1)), Candidate(call(2))
    interleave([fast, slow], timer, 101)
    ratio = slow.seconds[50] / fast.seconds[50]
    assert ratio == pytest.approx(2, rel=0.02)


def test_warm_up_is_not_counted(clock, timer):
    candidate = Candidate(clock.call('a', 90, 5, 1))
    warm_up(candidate, timer, min_calls=3, min_seconds=0, turn_seconds=8)
    assert candidate.calls == 8
    interleave([candidate], timer, 1)
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
    interleave([candidate], timer, 1)
    assert candidate.seconds == [2]


def test_percentiles_of_single_calls(clock, timer):
    costs = [cost for turn in range(4)
             for cost in (999, *range(25 * turn + 1, 25 * turn + 26))]
    candidate = Candidate(clock.call('a', *costs), calls=25)
    interleave([candidate], timer, 4, time_each_call)
    assert sorted(candidate.seconds) == list(range(1, 101))
    assert [percentile(candidate.seconds, p) for p in (50, 90, 99)] == [
        50, 90, 99]
    assert percentile([7.], 99) == 7


def test_single_calls_on_a_gpu(monkeypatch):
    """Events are recorded around each call, and waited for once."""
    gpu, waits = [0.], []

    class Event:

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.milliseconds = gpu[0]

        def elapsed_time(self, end):
            assert len(waits) == 2, 'the GPU may not have got there'
            return end.milliseconds - self.milliseconds

    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: waits.append(1))
    costs = iter([5, 7, 6])

    def call():
        gpu[0] += next(costs)

    assert CudaTimer().measure_each(call, 3) == [0.005, 0.007, 0.006]
    assert len(waits) == 2


def test_spread():
    assert relative_iqr([2., 2., 2., 2.]) == 0
    assert relative_iqr([1., 2., 3., 4., 5.]) == pytest.approx(2 / 3)
    assert relative_iqr([3.]) == 0


def test_ctrl_c_keeps_the_complete_rounds(clock, timer):
    calls = itertools.count(1)

    def interrupted():
        clock.now += 1
        if next(calls) > 7:
            raise KeyboardInterrupt

    first, second = Candidate(clock.call('a', 1), calls=2), Candidate(
        interrupted, calls=2)
    for time_turn, turns in ((time_window, 2), (time_each_call, 4)):
        calls = itertools.count(1)
        first.seconds.clear()
        second.seconds.clear()
        assert interleave([first, second], timer, 9, time_turn) == 2
        assert len(first.seconds) == len(second.seconds) == turns


def test_ctrl_c_before_the_first_round(timer):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interleave([Candidate(interrupted)], timer, 9)
