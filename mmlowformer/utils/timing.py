"""Timing several models side by side.

Models take turns (A B A B ...), so that drift of the machine hits all alike,
and what is reported are medians over the turns.
"""
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

# Wide enough to make a difference of models doubtful.
WIDE_SPREAD = 0.05


@dataclass
class Timer:
    """Where time comes from.

    Attributes:
        clock (Callable): Seconds, monotonic. Defaults to
            ``time.perf_counter``.
        synchronize (Callable): Waits until the device has done its work.
            Defaults to nothing, as on a CPU.
    """

    clock: Callable[[], float] = time.perf_counter
    synchronize: Callable[[], None] = lambda: None

    def measure(self, call: Callable, times: int = 1) -> float:
        """Seconds for so many calls, the device's work included."""
        self.synchronize()
        start = self.clock()
        for _ in range(times):
            call()
        self.synchronize()
        return self.clock() - start

    def measure_each(self, call: Callable, times: int) -> list[float]:
        """Seconds of each of so many calls."""
        return [self.measure(call) for _ in range(times)]

    def mark(self) -> Any:
        """A point in time, while work goes on."""
        return self.clock()

    def between(self, start: Any, end: Any) -> float:
        """Seconds between two marks, once the device has done its work."""
        return end - start


class CudaTimer(Timer):
    """Waits for the GPU once in a window, not once in a call."""

    def __init__(self):
        super().__init__(synchronize=torch.cuda.synchronize)

    def measure_each(self, call: Callable, times: int) -> list[float]:
        """Seconds of each call, between events on the GPU."""
        marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)]
                 for _ in range(times)]
        self.synchronize()
        for start, end in marks:
            start.record()
            call()
            end.record()
        self.synchronize()
        return [self.between(*pair) for pair in marks]

    def mark(self) -> Any:
        """An event on the GPU."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """Seconds between two events, once the GPU has come to both."""
        return start.elapsed_time(end) / 1e3


@dataclass
class Candidate:
    """Something to be timed.

    Attributes:
        call (Callable): What is timed.
        seconds (list[float]): For each turn, seconds of one call.
        calls (int): Calls in a turn.
    """

    call: Callable
    seconds: list[float] = field(default_factory=list)
    calls: int = 1


def warm_up(candidate: Candidate, timer: Timer, min_calls: int,
            min_seconds: float, turn_seconds: float) -> None:
    """Call until caches, clocks and autotuning have settled; set ``calls``."""
    spent, done, last = 0., 0, 0.
    while done < min_calls or spent < min_seconds:
        last = timer.measure(candidate.call)
        spent += last
        done += 1
    # The first calls are slow, the last one is as fast as it gets.
    candidate.calls = max(1, math.ceil(turn_seconds / max(last, 1e-9)))


def time_window(candidate: Candidate, timer: Timer) -> None:
    """Time all calls of a turn together."""
    seconds = timer.measure(candidate.call, candidate.calls)
    candidate.seconds.append(seconds / candidate.calls)


def time_each_call(candidate: Candidate, timer: Timer) -> None:
    """Time the calls of a turn one by one, for percentiles."""
    candidate.seconds.extend(
        timer.measure_each(candidate.call, candidate.calls))


def interleave(candidates: Sequence[Candidate], timer: Timer, repeats: int,
               time_turn: Callable[[Candidate, Timer], None] = time_window,
               after_turn: Callable[[], None] = lambda: None) -> int:
    """Time all candidates, one turn of each after the other."""
    for done in range(repeats):
        counts = [len(candidate.seconds) for candidate in candidates]
        try:
            _interleave_once(candidates, timer, time_turn, after_turn)
        except KeyboardInterrupt:
            if not done:
                raise
            for candidate, count in zip(candidates, counts):
                del candidate.seconds[count:]
            return done
    return repeats


def _interleave_once(candidates: Sequence[Candidate], timer: Timer,
               time_turn: Callable[[Candidate, Timer], None],
               after_turn: Callable[[], None]) -> None:
    for candidate in candidates:
        # The caches are full of another model's data, and the threads of
        # another library may still wait for work at full speed.
        candidate.call()
        time_turn(candidate, timer)
        after_turn()


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def relative_iqr(values: Sequence[float]) -> float:
    """Interquartile range over the median."""
    if len(values) < 2:
        return 0.
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return (high - low) / median(values)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
