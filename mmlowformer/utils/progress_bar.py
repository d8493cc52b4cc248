"""Progress bars of work that is counted."""
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from ..errors import printable
from .console import console, set_bar


def format_duration(seconds: float) -> str:
    """A duration as ``0:01:05``."""
    return str(timedelta(seconds=math.ceil(seconds)))


def make_bar(*columns: ProgressColumn, screen: Console | None = None,
             **kwargs) -> Progress:
    """Make a bar that is shown at a terminal and disappears at its end."""
    screen = screen or console()
    return Progress(
        TextColumn('{task.description}', markup=False), BarColumn(None),
        *columns, console=screen, redirect_stdout=False, transient=True,
        disable=not screen.is_terminal, **kwargs)


@contextmanager
def counting_bar(stage: str, total: int | None) -> Iterator[Callable]:
    """A bar with the remaining time, at a terminal."""
    bar = make_bar(MofNCompleteColumn(), TimeRemainingColumn())
    with _shown(bar, stage, total) as advance:
        yield advance


@contextmanager
def download_bar(name: str, total: int | None, done: int
                 ) -> Iterator[Callable]:
    """A bar of received bytes, at a terminal."""
    bar = make_bar(DownloadColumn(), TimeRemainingColumn())
    with _shown(bar, name, total, completed=done) as advance:
        yield advance


@contextmanager
def _shown(bar: Progress, stage: str, total: int | None,
           **kwargs) -> Iterator[Callable]:
    task = bar.add_task(printable(stage), total=total, **kwargs)
    set_bar(bar)
    try:
        yield partial(bar.advance, task)
    finally:
        set_bar(None)
