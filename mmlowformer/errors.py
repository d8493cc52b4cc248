"""Errors that a user can mend, shown without a traceback."""
import os
import reprlib
import sys
import traceback
import unicodedata
from collections.abc import Collection
from contextlib import contextmanager
from itertools import islice

# Set to 1 it shows the tracebacks that are hidden else, as --debug does.
DEBUG = 'MMLOWFORMER_DEBUG'


# Controls, formats such as changes of direction, lone surrogates, and what
# separates lines and paragraphs.
UNSEEN = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
# Joiners, which emoji and some scripts need.
HARMLESS = '\u200c\u200d'
# Characters of a name, or of a message.
LONGEST_NAME, LONGEST_MESSAGE = 200, 4000


class UserError(Exception):
    """Something in the input is wrong; the message names the remedy."""


def is_first_process() -> bool:
    """Whether this is rank 0, also before the processes know each other."""
    ranks = (os.environ.get(name) for name in
             ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'))
    return next(filter(None, ranks), '0') == '0'


def printable(text: str, keep: str = '', limit: int = LONGEST_NAME) -> str:
    r"""A text from a file as it may be shown: no controls, and not endless.

    Args:
        text (str): For example a class's name.
        keep (str): Control characters that stay, such as a newline. Defaults
            to none.
        limit (int): Characters that are shown. Defaults to 200.

    Returns:
        str: With escapes such as ``\x1b`` for what moves the cursor, turns
        the direction, breaks the line or cannot be encoded.
    """
    shown = text if len(text) <= limit else text[:limit - 3] + '...'
    return ''.join(
        char.encode('unicode_escape').decode()
        if unicodedata.category(char) in UNSEEN
        and char not in keep + HARMLESS else char for char in shown)


def is_printable(text: str) -> bool:
    """Whether :func:`printable` would leave a text as it is, but its length.

    Args:
        text (str): For example a file's name.
    """
    return text.isprintable() or printable(text, limit=len(text)) == text


def first_line(error: BaseException) -> str:
    """What an error says, in a line.

    Args:
        error (BaseException): The error.

    Returns:
        str: The first line of its text, or its kind if it has none.
    """
    if isinstance(error, RecursionError):
        return 'it is nested too deeply'
    if isinstance(error, UnicodeDecodeError):
        return f'it is no text in {error.encoding.upper()}'
    # A KeyError's text is the repr of its argument.
    text = str(error.args[0] if isinstance(error, KeyError) and error.args
               else error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return shown(lines[0], 300) if lines else type(error).__name__


def shown(value: object, most: int = 160) -> str:
    """A value that a file holds, as it can stand in a message.

    Args:
        value (object): The value.
        most (int): Characters; longer ones are cut. Defaults to 160.

    Returns:
        str: Its text, what cannot be printed escaped.
    """
    try:
        # Of what is nested, as aliases of YAML may be, only the first parts.
        text = (reprlib.repr(value) if isinstance(
            value, (dict, list, set, tuple)) else str(value))
    except (RecursionError, ValueError):  # Of a number of 5000 digits, too.
        text = f'a {type(value).__name__} that is too large to be shown'
    if len(text) > most:
        text = f'{text[:most]}... ({len(text)} characters)'
    return ''.join(letter if letter.isprintable() else
                   letter.encode('unicode_escape').decode()
                   for letter in text)


def some_of(names: Collection[str], most: int = 10) -> str:
    """Names that a file holds, as they can stand in a message.

    Args:
        names (Collection[str]): The names.
        most (int): How many are shown. Defaults to 10.

    Returns:
        str: The first ones, each cut if it is long, and the number of others.
    """
    text = ', '.join(shown(name, 60) for name in islice(names, most))
    more = len(names) - most
    return f'{text}, and {more} more' if more > 0 else text


@contextmanager
def one_line_errors(program: str):
    """Exit with the message alone on a :class:`UserError`.

    Args:
        program (str): Name of the tool, put in front of the message.
    """
    try:
        yield
    except UserError as error:
        # Every process of a distributed job finds the same error.
        if not is_first_process():
            sys.exit(1)
        if os.environ.get(DEBUG, '0') != '0':
            traceback.print_exc()
        sys.exit(f'{program}: error: {_message(error)}')


def _message(error: UserError) -> str:
    """The text, without what a worker of a data loader puts around it."""
    text = str(error).split(f'{UserError.__name__}: ')[-1].strip()
    return printable(text, '\n', LONGEST_MESSAGE)
