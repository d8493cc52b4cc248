"""What measurements show on the terminal: how far they are, and tables."""
import re
import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ..errors import printable
from .run import Progress

# Of a table, unless it is wide.
WIDTH = 80


class PlainConsole(Console):
    """Shows texts literally: no markup, no control characters."""

    def __init__(self, **kwargs):
        super().__init__(markup=False, emoji=False, highlight=False, **kwargs)

    def render_str(self, text: str, **kwargs) -> Text:
        """Prepare a text to be shown."""
        return super().render_str(printable(text, '\n', sys.maxsize),
                                  **kwargs)


class ProgressBar(Progress):
    """How far a measurement is, on the terminal."""

    def __init__(self):
        self.bar = Bar(
            TextColumn('{task.description}', markup=False), BarColumn(),
            MofNCompleteColumn(), TimeRemainingColumn(),
            # Nothing may draw while a model is timed.
            console=PlainConsole(stderr=True), transient=True,
            auto_refresh=False)
        self.task = self.bar.add_task('', total=None)

    def message(self, text: str) -> None:
        self.bar.console.print(text)

    def phase(self, text: str, steps: int) -> None:
        self.title = text
        self.bar.reset(self.task, total=steps, description=text)
        self.bar.refresh()

    def step(self, text: str = '') -> None:
        self.bar.update(self.task, description=f'{self.title} {text}',
                        advance=1, refresh=True)


def table_of(header: list[str], rows: list[list[str]], wide: bool) -> Table:
    """A table to be printed; long names break behind punctuation."""
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


def console_of(wide: bool) -> Console:
    """Wide enough for every column, also when it is written to a file."""
    return PlainConsole(
        width=max(200, Console().width) if wide else WIDTH)
