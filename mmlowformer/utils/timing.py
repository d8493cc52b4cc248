"""Time several callables in turns.

Turns are interleaved (A B A B ...), so that drift of the machine affects all
of them; medians over the turns are reported.
"""
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

# A wider spread makes a comparison doubtful.
WIDE_SPREAD = 0.05


@dataclass
class Timer:
    """Measures time on a CPU, or with another clock."""

    # Seconds, monotonic.
    clock: Callable[[], float] = time.perf_counter
    # Waits until the device is done.
    synchronize: Callable[[], None] = lambda: None

    def measure(self, call: Callable, times: int = 1) -> float:
        """Seconds of all calls, including the work of the device."""
        self.synchronize()
        start = self.clock()
        for _ in range(times):
            call()
        self.synchronize()
        return self.clock() - start

    def measure_each(self, call: Callable, times: int) -> list[float]:
        """Seconds of each call."""
        return [self.measure(call) for _ in range(times)]

    def mark(self) -> Any:
        """Mark a point in time."""
        return self.clock()

    def between(self, start: Any, end: Any) -> float:
        """Seconds between two marks, after synchronizing."""
        return end - start


class CudaTimer(Timer):
    """Synchronizes with the GPU once a turn, not once a call."""

    def __init__(self):
        super().__init__(synchronize=torch.cuda.synchronize)

    def measure_each(self, call: Callable, times: int) -> list[float]:
        """Seconds of each call between events on the GPU."""
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
        """Record an event on the GPU."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """Seconds between two events, after synchronizing."""
        return start.elapsed_time(end) / 1e3


def timer_for(device: str, cpu_time: bool = False) -> Timer:
    """The timer of a device; on a CPU of processor time if wanted."""
    if device == 'cuda':
        return CudaTimer()
    return Timer(time.process_time if cpu_time else time.perf_counter)


@dataclass
class Candidate:
    """A callable to be timed."""

    call: Callable
    # Of one call, for each turn.
    seconds: list[float] = field(default_factory=list)
    # Calls in a turn.
    calls: int = 1

    def take_turn(self, timer: Timer, time_turn: 'TimeTurn') -> None:
        """Call it, and time it."""
        # Not timed: the caches hold another model's data, and threads of
        # another library may still spin.
        self.call()
        time_turn(self, timer)


TimeTurn = Callable[[Candidate, Timer], None]


class TakesTurns(Protocol):
    """What is timed in turns, such as a :class:`Candidate`."""

    seconds: list[float]

    def take_turn(self, timer: Timer, time_turn: TimeTurn) -> None:
        """Add the seconds of a turn."""


def warm_up(candidate: Candidate, timer: Timer, min_calls: int,
            min_seconds: float, turn_seconds: float) -> None:
    """Call until caches and autotuning have settled; set ``calls``."""
    spent, done, last = 0., 0, 0.
    while done < min_calls or spent < min_seconds:
        last = timer.measure(candidate.call)
        spent += last
        done += 1
    candidate.calls = max(1, math.ceil(turn_seconds / max(last, 1e-9)))


def time_window(candidate: Candidate, timer: Timer) -> None:
    """Time all calls of a turn together."""
    seconds = timer.measure(candidate.call, candidate.calls)
    candidate.seconds.append(seconds / candidate.calls)


def time_each_call(candidate: Candidate, timer: Timer) -> None:
    """Time the calls of a turn one by one, for percentiles."""
    candidate.seconds.extend(
        timer.measure_each(candidate.call, candidate.calls))


def interleave(candidates: Sequence[TakesTurns], timer: Timer, repeats: int,
               time_turn: TimeTurn = time_window,
               after_turn: Callable[[], None] = lambda: None,
               after_round: Callable[[int], None] = lambda rounds: None,
               first: int = 0) -> int:
    """Time candidates in interleaved turns; return the complete rounds.

    Ctrl-C ends it after the last complete one. The ``first`` rounds are done
    already.
    """
    for done in range(first, repeats):
        counts = [len(candidate.seconds) for candidate in candidates]
        try:
            _interleave_once(candidates, timer, time_turn, after_turn)
            after_round(done + 1)
        except KeyboardInterrupt:
            if not done:
                raise
            for candidate, count in zip(candidates, counts):
                del candidate.seconds[count:]
            return done
    return repeats


def _interleave_once(candidates: Sequence[TakesTurns], timer: Timer,
                     time_turn: TimeTurn, after_turn: Callable[[], None]
                     ) -> None:
    for candidate in candidates:
        candidate.take_turn(timer, time_turn)
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
    """The smallest value that this percentage of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
