"""Errors that a user can mend, shown without a traceback."""
import os
import sys
from contextlib import contextmanager


class UserError(Exception):
    """Something in the input is wrong; the message says what and the remedy."""


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
        if os.environ.get('RANK', '0') != '0':
            sys.exit(1)
        sys.exit(f'{program}: error: {error}')
