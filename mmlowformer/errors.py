"""Errors that a user can mend, shown without a traceback."""
import os
import sys
import traceback
from contextlib import contextmanager

# Set to 1 it shows the tracebacks that are hidden else, as --debug does.
DEBUG = 'MMLOWFORMER_DEBUG'


class UserError(Exception):
    """Something in the input is wrong; the message names the remedy."""


def is_first_process() -> bool:
    """Whether this is rank 0, also before the processes know each other."""
    ranks = (os.environ.get(name) for name in
             ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'))
    return next(filter(None, ranks), '0') == '0'


def first_line(error: BaseException) -> str:
    """What an error says, in a line.

    Args:
        error (BaseException): The error.

    Returns:
        str: The first line of its text, or its kind if it has none.
    """
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
        text = str(value)
    except (RecursionError, ValueError):  # Of a number of 5000 digits, too.
        text = f'a {type(value).__name__} that is too large to be shown'
    if len(text) > most:
        text = f'{text[:most]}... ({len(text)} characters)'
    return ''.join(letter if letter.isprintable() else
                   letter.encode('unicode_escape').decode()
                   for letter in text)


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
    return str(error).split(f'{UserError.__name__}: ')[-1].strip()
