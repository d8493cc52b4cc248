"""How far a series of measurements is, on the terminal."""
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from ..benchmark.terminal_report import PlainConsole
from .sweep import SweepProgress


class SweepBar(SweepProgress):
    """How far it is, and how long the rest takes."""

    def __init__(self):
        self.bar = Progress(
            BarColumn(20), TaskProgressColumn(), TimeRemainingColumn(),
            TextColumn('{task.description}', markup=False),
            # Nothing may draw while a model is timed.
            console=PlainConsole(stderr=True), transient=True,
            auto_refresh=False)
        self.task = self.bar.add_task('', total=None)
        self.title, self.done, self.step_size = '', 0., 0.

    def start(self, total: float) -> None:
        """Begin."""
        self.bar.update(self.task, total=total, refresh=True)

    def enter(self, title: str, cost: float, steps: int) -> None:
        """Begin the next measurement."""
        self.title, self.step_size = title, cost / steps
        self.bar.update(self.task, completed=self.done, description=title,
                        refresh=True)
        self.done += cost

    def message(self, text: str) -> None:
        """Something that a user has to know."""
        self.bar.console.print(text, highlight=False)

    def step(self, text: str = '') -> None:
        """A step of a measurement begins."""
        self.bar.update(self.task, description=f'{self.title} {text}'.strip(),
                        advance=self.step_size, refresh=True)
