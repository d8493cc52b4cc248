"""Errors that a user can mend, shown without a traceback."""
import os
import sys
from contextlib import contextmanager


class UserError(Exception):
    """Something in the input is wrong; the message names the remedy."""


def is_first_process() -> bool:
    """Whether this is rank 0, also before the processes know each other."""
    ranks = (os.environ.get(name) for name in
             ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'))
    return next(filter(None, ranks), '0') == '0'


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
        sys.exit(f'{program}: error: {error}')
