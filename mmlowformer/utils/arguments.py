"""Options of the command line: types of numbers, and renamed options."""
import sys
from argparse import (
    SUPPRESS,
    Action,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    _ActionsContainer,
)
from collections.abc import Callable, Sequence
from typing import Any

from .text import wrapped


def at_least(least: int) -> Callable[[str], int]:
    """An integer that is not below ``least``."""
    def integer(text: str) -> int:
        value = int(text)
        if value < least:
            raise ArgumentTypeError(f'has to be at least {least}, '
                                             f'not {value}')
        return value

    return integer


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not value > 0:
        raise ArgumentTypeError(f'has to be positive, not {text}')
    return value


def rename_option(parser: _ActionsContainer, old: str, new: str) -> None:
    """Let ``old`` do what the option ``new`` does, with a warning.

    ``parser`` may be a group of mutually exclusive options.
    """
    action = parser._option_string_actions[new]
    alike: Any = {name: getattr(action, name)
                  for name in ('dest', 'nargs', 'type', 'choices')}
    parser.add_argument(old, action=_OldOption, target=action, help=SUPPRESS,
                        default=SUPPRESS, **alike)


class _OldOption(Action):
    """Calls the action of the new option."""

    def __init__(self, *args, target: Action, **kwargs):
        super().__init__(*args, **kwargs)
        self.target = target

    def __call__(self, parser: ArgumentParser, namespace: Namespace,
                 values: str | Sequence | None,
                 option_string: str | None = None) -> None:
        new = self.target.option_strings[0]
        print(wrapped(f'{parser.prog}: {option_string} is called {new} now; '
                      'the old name works until the next release'),
              file=sys.stderr)
        self.target(parser, namespace, values, new)
