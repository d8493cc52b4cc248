"""Errors in annotations, collected so that one message names all of them."""
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..errors import UserError, first_line, shown


class AnnotationErrors:
    """Counts errors by their kind and keeps an example of each."""

    def __init__(self, found: Iterable[tuple[str, str]] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        for kind, example in found:
            self.add(kind, example)

    def add(self, kind: str, example: str) -> None:
        """Count an error."""
        self.counts[kind] += 1
        self.examples.setdefault(kind, shown(example))

    @contextmanager
    def collect(self, kind: str, where: str,
                *others: type[Exception]) -> Iterator[None]:
        """Count a ValueError, or another error, that is raised inside."""
        kinds: tuple[type[Exception], ...] = (ValueError, *others)
        try:
            yield
        except kinds as error:
            self.add(kind, f'{where}, {first_line(error)}')

    def lines(self) -> list[str]:
        """Describe each kind in a line."""
        return [f'{count} x {kind}, first: {self.examples[kind]}'
                for kind, count in self.counts.items()]

    def check(self, source: str, remedy: str = 'Fix the file') -> None:
        """Raise a UserError if there are errors."""
        if self.counts:
            raise UserError(f'{source}: {"; ".join(self.lines())}. {remedy}')
