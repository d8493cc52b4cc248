"""Errors in annotations, collected so that one message names all of them."""
from collections import Counter
from collections.abc import Iterable

from ..errors import UserError, shown


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

    def lines(self) -> list[str]:
        """Describe each kind in a line."""
        return [f'{count} x {kind}, first: {self.examples[kind]}'
                for kind, count in self.counts.items()]

    def check(self, source: str, remedy: str = 'Fix the file') -> None:
        """Raise a UserError if there are errors."""
        if self.counts:
            raise UserError(f'{source}: {"; ".join(self.lines())}. {remedy}')
