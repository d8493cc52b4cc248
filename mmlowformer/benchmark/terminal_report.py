"""Progress and tables of measurements on the terminal."""
import re
import sys

from rich.console import Console
from rich.progress import TaskProgressColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..errors import printable
from ..utils.terminal import make_bar
from .run import BenchmarkProgress

WIDTH = 80


class PlainConsole(Console):
    """Prints text literally: no markup, no control characters."""

    def __init__(self, **kwargs):
        super().__init__(markup=False, emoji=False, highlight=False, **kwargs)

    def render_str(self, text: str, **kwargs) -> Text:
        """Escape control characters."""
        return super().render_str(printable(text, '\n', sys.maxsize),
                                  **kwargs)


class ProgressBar(BenchmarkProgress):
    """Shows the progress of a measurement, or of a series."""

    def __init__(self):
        # Nothing may draw while a model is timed.
        self.bar = make_bar(
            TaskProgressColumn(), TimeRemainingColumn(),
            screen=PlainConsole(stderr=True), auto_refresh=False)
        self._task = self.bar.add_task('', total=None)
        self._in_series = False
        self._title, self._done, self._step = '', 0., 1.

    def message(self, text: str) -> None:
        self.bar.console.print(text)

    def start_series(self, total_cost: float) -> None:
        self._in_series = True
        self.bar.update(self._task, total=total_cost, refresh=True)

    def start_measurement(self, title: str, cost: float, steps: int) -> None:
        self._title, self._step = title, cost / steps
        self.bar.update(self._task, completed=self._done, description=title,
                        refresh=True)
        self._done += cost

    def start_phase(self, title: str, steps: int) -> None:
        if not self._in_series:
            self._title = title
            self.bar.reset(self._task, total=steps, description=title)
            self.bar.refresh()

    def step(self, text: str = '') -> None:
        self.bar.update(self._task, advance=self._step, refresh=True,
                        description=f'{self._title} {text}'.strip())


def make_table(header: list[str], rows: list[list[str]], wide: bool) -> Table:
    """A table for printing; long names break behind punctuation."""
    table = Table(box=None, pad_edge=False)
    for name in header:
        table.add_column(name, no_wrap=wide and name == 'model',
                         overflow='fold', min_width=len(name.split()[0]))
    numbers = sum(2 + max(map(len, column)) for column in list(
        zip(header, *(row for row in rows if len(row) == len(header))))[1:])
    for name, *cells in rows:
        table.add_row(name if wide else _broken(name, WIDTH - numbers), *cells)
    return table


def _broken(name: str, width: int) -> str:
    """A name in lines that end behind punctuation."""
    lines = ['']
    for part in re.findall(r'[^@,:/_.]*[@,:/_.]?', name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append('')
        lines[-1] += part
    return '\n'.join(lines)


def make_console(wide: bool) -> Console:
    """A console of 80 columns, or wide enough for every column."""
    return PlainConsole(
        width=max(200, Console().width) if wide else WIDTH)
