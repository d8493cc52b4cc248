"""Text for a terminal of 80 columns."""
import os
import shlex
import sys
import textwrap
from pathlib import Path

from ..errors import printable

WIDTH = 80
LABEL = 12


def line(label: str, text: str) -> str:
    """A labeled entry, with its continuation lines indented."""
    return wrapped(f'{label:<{LABEL}}{text}', ' ' * LABEL)


def command(*words: str) -> str:
    """A command to copy, on several lines if it is long."""
    lines = ['']
    for word in map(shlex.quote, words):
        # Two columns are for the backslash.
        if lines[-1] and len(lines[-1]) + len(word) + 3 > WIDTH - 2:
            lines.append('   ')
        lines[-1] += f' {word}' if lines[-1] else word
    return ' \\\n'.join(lines)


def short(path: str | Path) -> str:
    """A path relative to the current folder, if it is inside."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative


def wrapped(text: str, indent: str = '') -> str:
    """Break lines between words, so that paths stay whole."""
    return '\n'.join(
        textwrap.fill(line, WIDTH, subsequent_indent=indent,
                      break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines())


def visible(text: str) -> str:
    """Escape control characters, but keep lines and tabs."""
    return printable(text, '\n\t', sys.maxsize)


def counted(number: int, word: str, plural: str = '') -> str:
    """A number and its noun: ``1 image``, ``2 images``."""
    return f'{number} {word if number == 1 else plural or word + "s"}'
