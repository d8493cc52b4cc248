"""The terminal, and progress bars at its bottom."""
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TextIO

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
from rich.text import Text

from ..errors import is_first_process, printable
from .text import line, visible


class Terminal(Console):
    """A terminal whose end does not end the work."""

    def on_broken_pipe(self) -> None:
        """Go on when nobody reads any more, as with ``| head``."""


class _Screen:
    """The terminal of this process, and the bar that it shows."""

    console: Console = Terminal(highlight=False)
    bar: Progress | None = None


def console() -> Console:
    """The terminal that lines and progress bars share."""
    return _Screen.console


@contextmanager
def terminal_of(file: TextIO) -> Iterator[None]:
    """Show lines and progress bars on another file than ``sys.stdout``."""
    before, _Screen.console = _Screen.console, Terminal(
        file=file, highlight=False)
    try:
        yield
    finally:
        set_bar(None)
        _Screen.console = before


def set_bar(bar: Progress | None) -> None:
    """Show a bar at the bottom of the screen, in place of the last one."""
    if _Screen.bar is not None:
        _Screen.bar.stop()
    _Screen.bar = bar
    if bar is not None:
        bar.start()


def show(text: str, style: str = '', *, always: bool = False) -> None:
    """Write to the screen alone, in the first process or always."""
    if always or is_first_process():
        console().print(Text(visible(text), style), soft_wrap=True)


def show_line(label: str, text: str, *, always: bool = False) -> None:
    """Write a labeled entry to the screen alone."""
    show(line(label, text), always=always)


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
