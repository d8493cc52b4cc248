"""Types of numbers on the command line."""
import argparse
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """An integer that is not below ``least``."""
    def integer(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f'has to be at least {least}, '
                                             f'not {value}')
        return value

    return integer


def positive(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f'has to be positive, not {text}')
    return value
