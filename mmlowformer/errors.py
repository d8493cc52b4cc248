"""Errors that a user can mend, and signals: ends without a traceback."""
import os
import reprlib
import signal
import sys
import threading
import traceback
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import NoReturn

# Set to 1 it shows the tracebacks that are hidden else, as --debug does.
DEBUG = 'MMLOWFORMER_DEBUG'


# Controls, formats such as changes of direction, lone surrogates, and what
# separates lines and paragraphs.
UNSEEN = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
# Joiners, which emoji and some scripts need.
HARMLESS = '\u200c\u200d'
# Characters of a name, or of a message.
LONGEST_NAME, LONGEST_MESSAGE = 200, 4000
# What schedulers send, and terminals that are closed. Windows has no SIGHUP.
ENDINGS = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGHUP')
                if hasattr(signal, name))
# The signal that a KeyboardInterrupt stands for.
_received: list[int] = [signal.SIGINT]


class UserError(Exception):
    """Something in the input is wrong; the message names the remedy.

    Names in it may be a stranger's: what would move the cursor or begin a
    line is escaped.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), limit=LONGEST_MESSAGE)


def is_first_process() -> bool:
    """Whether this is rank 0, also before the processes know each other."""
    ranks = (os.environ.get(name) for name in
             ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'))
    return next(filter(None, ranks), '0') == '0'


def printable(text: str, keep: str = '', limit: int = LONGEST_NAME) -> str:
    r"""A text from a file as it may be shown: no controls, and not endless."""
    shown = text if len(text) <= limit else text[:limit - 3] + '...'
    return ''.join(
        char.encode('unicode_escape').decode()
        if unicodedata.category(char) in UNSEEN
        and char not in keep + HARMLESS else char for char in shown)


def plain_label(text: str) -> str:
    r"""A text from a file as a label in a figure."""
    return printable(f' {text}' if text.startswith('_') else text
                     ).replace('$', r'\$')


def is_printable(text: str) -> bool:
    """Whether :func:`printable` would change nothing but the length."""
    return text.isprintable() or printable(text, limit=len(text)) == text


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
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
    """A value that a file holds, as it can stand in a message."""
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
    """Names that a file holds, as they can stand in a message."""
    text = ', '.join(shown(name, 60) for name in islice(names, most))
    more = len(names) - most
    return f'{text}, and {more} more' if more > 0 else text


@contextmanager
def damage_errors(what: str) -> Iterator[None]:
    """Tell that a file's values are wrong, which work upon them has shown."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError,
            ArithmeticError, RecursionError) as error:
        raise UserError(f'{what}: {first_line(error)[:200]}') from error


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Exit with a line on a :class:`UserError`, Ctrl-C, SIGTERM or SIGHUP."""
    with _signals_interrupt():
        try:
            yield
        except SystemExit:
            raise
        except BaseException as error:
            if is_interrupt(error):
                exit_interrupted('Interrupted.')
            if not isinstance(error, UserError):
                raise
            _exit_with(program, error)


def _exit_with(program: str, error: UserError) -> NoReturn:
    # Every process of a distributed job finds the same error.
    if not is_first_process():
        sys.exit(1)
    if os.environ.get(DEBUG, '0') != '0':
        traceback.print_exc()
    sys.exit(f'{program}: error: {_message(error)}')


def _message(error: UserError) -> str:
    """The text, without what a worker of a data loader puts around it."""
    text = Exception.__str__(error)
    return str(UserError(text.split(f'{UserError.__name__}: ')[-1].strip()))


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does.

    What is ignored, as SIGHUP below nohup, stays so. A distributed job is its
    launcher's to end, which waits for its processes, as they for each other.
    """
    process = os.getpid()

    def end(number: int, _) -> None:
        # A forked worker has nothing to tell.
        if os.getpid() != process:
            os._exit(128 + number)
        _received[0] = number
        for other in ENDINGS:
            signal.signal(other, signal.SIG_IGN)
        # Torch would report the workers that the same signal has ended.
        if hasattr(signal, 'SIGCHLD'):
            signal.signal(signal.SIGCHLD, lambda *_: None)
        raise KeyboardInterrupt

    _received[0] = signal.SIGINT
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _endings()}
    try:
        for number, handler in before.items():
            if handler == signal.SIG_DFL:
                signal.signal(number, end)
            # Of tools, which have another while they are imported.
            elif number == signal.SIGINT and handler != signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _endings() -> tuple[int, ...]:
    alone = os.environ.get('WORLD_SIZE', '1') == '1'
    return (signal.SIGINT, *(ENDINGS if alone else ()))


def is_interrupt(error: BaseException | None) -> bool:
    """Whether an error comes of Ctrl-C, SIGTERM or SIGHUP."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def exit_interrupted(words: str) -> NoReturn:
    """Exit with the status of a program that a signal ended."""
    # Once more would cut the words short.
    for number in (signal.SIGINT, *ENDINGS):
        signal.signal(number, signal.SIG_IGN)
    # There may be no terminal any more.
    with suppress(OSError):
        if is_first_process():
            print(f'\n{words}', file=sys.stderr)
    sys.exit(128 + _received[0])
