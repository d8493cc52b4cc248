"""Timing several models side by side.

Models take turns (A B A B ...), so that drift of the machine hits all alike,
and what is reported are medians over the turns.
"""
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
    """Call until caches, clocks and autotuning have settled; set ``calls``.

    Args:
        candidate (Candidate): What to warm up.
        timer (Timer): Where time comes from.
        min_calls (int): At least so many calls.
        min_seconds (float): At least so long.
        turn_seconds (float): How long a turn is going to be.
    """
    spent, done, last = 0., 0, 0.
    while done < min_calls or spent < min_seconds:
        last = timer.measure(candidate.call)
        spent += last
        done += 1
    # The first calls are slow, the last one is as fast as it gets.
    candidate.calls = max(1, math.ceil(turn_seconds / max(last, 1e-9)))


def take_turns(candidates: Sequence[Candidate], timer: Timer, repeats: int,
               after_turn: Callable[[], None] = lambda: None) -> None:
    """Time all candidates, one turn of each after the other.

    Args:
        candidates (Sequence[Candidate]): What to time.
        timer (Timer): Where time comes from.
        repeats (int): Number of turns of each.
        after_turn (Callable): Called after each turn. Defaults to nothing.
    """
    for _ in range(repeats):
        for candidate in candidates:
            seconds = timer.measure(candidate.call, candidate.calls)
            candidate.seconds.append(seconds / candidate.calls)
            after_turn()


def take_turns_call_by_call(
        candidates: Sequence[Candidate], timer: Timer, repeats: int,
        after_turn: Callable[[], None] = lambda: None) -> None:
    """Like :func:`take_turns`, but each call is timed, for percentiles."""
    for _ in range(repeats):
        for candidate in candidates:
            candidate.seconds.extend(
                timer.measure(candidate.call) for _ in range(candidate.calls))
            after_turn()


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """Interquartile range over the median."""
    if len(values) < 2:
        return 0.
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return (high - low) / median(values)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
