"""Errors that a user can fix, and signals: exits without a traceback."""
import difflib
import os
import reprlib
import signal
import sys
import threading
import traceback
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import NoReturn

# Set to 1, it shows tracebacks, as --debug does.
DEBUG = 'MMLOWFORMER_DEBUG'


# Control and format characters, lone surrogates, line and paragraph
# separators.
UNSEEN = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
# Joiners of emoji and of some scripts.
HARMLESS = '\u200c\u200d'
# Maximum characters of a name, and of a message.
LONGEST_NAME, LONGEST_MESSAGE = 200, 4000
# Sent by schedulers, and by closed terminals. Windows has no SIGHUP.
ENDINGS = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGHUP')
                if hasattr(signal, name))
# Those, and Ctrl-C.
SIGNALS = (signal.SIGINT, *ENDINGS)
# The signal that a KeyboardInterrupt stands for.
_received: list[int] = [signal.SIGINT]


class UserError(Exception):
    """An error in the input; the message names the remedy.

    Control characters and line breaks in it are escaped, as names in it may
    come from untrusted files.
    """

    def __str__(self) -> str:
        return printable(super().__str__(), limit=LONGEST_MESSAGE)


def is_first_process() -> bool:
    """Whether this is rank 0, even before the process group exists."""
    ranks = (os.environ.get(name) for name in
             ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'))
    return next(filter(None, ranks), '0') == '0'


def printable(text: str, keep: str = '', limit: int = LONGEST_NAME) -> str:
    """Escape control characters of a text from a file, and shorten it."""
    shown = text if len(text) <= limit else text[:limit - 3] + '...'
    return ''.join(
        char.encode('unicode_escape').decode()
        if unicodedata.category(char) in UNSEEN
        and char not in keep + HARMLESS else char for char in shown)


def plain_label(text: str) -> str:
    """Make a text from a file a label of a figure, without markup."""
    return printable(f' {text}' if text.startswith('_') else text
                     ).replace('$', r'\$')


def is_printable(text: str) -> bool:
    """Whether :func:`printable` would change nothing but the length."""
    return text.isprintable() or printable(text, limit=len(text)) == text


def first_line(error: BaseException) -> str:
    """The first line of the text of an error."""
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
    """Make a value from a file fit into a message."""
    try:
        # repr() of nested aliases of YAML could be endless.
        text = (reprlib.repr(value) if isinstance(
            value, (dict, list, set, tuple)) else str(value))
    except (RecursionError, ValueError):  # As for a number of 5000 digits.
        text = f'a {type(value).__name__} that is too large to show'
    if len(text) > most:
        text = f'{text[:most]}... ({len(text)} characters)'
    return printable(text, limit=len(text))


def some_of(names: Collection[str], most: int = 10) -> str:
    """List names from a file in a message."""
    text = ', '.join(shown(name, 60) for name in islice(names, most))
    more = len(names) - most
    return f'{text}, and {more} more' if more > 0 else text


def similar(name: str, names: Iterable[str]) -> str:
    """Suggest a similar name, as the end of a sentence."""
    close = difflib.get_close_matches(name, set(names), n=1)
    return f'. Did you mean {close[0]}?' if close else ''


@dataclass(frozen=True)
class Finding:
    """A kind of findings of a check.

    Attributes:
        severity (str): ``'error'`` if a training refuses it, ``'warning'`` if
            it is trained but worth a look.
        kind (str): What is wrong.
        count (int): How often.
        example (str): The first one.
        fix (str): A command that fixes it, empty if none does.
    """

    severity: str
    kind: str
    count: int
    example: str
    fix: str = ''

    def __str__(self) -> str:
        return f'{self.count} x {self.kind}, first: {self.example}'


class AnnotationErrors:
    """Findings in annotations, counted by kind, with an example of each.

    Attributes:
        warnings (set[str]): Kinds that are no errors.
    """

    def __init__(self, found: Iterable[tuple[str, str]] = (),
                 warnings: Iterable[str] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.warnings = {*warnings}
        self.extend(found)

    def extend(self, found: Iterable[tuple[str, str]]) -> None:
        """Count kinds and examples."""
        for kind, example in found:
            self.add(kind, example)

    def add(self, kind: str, example: str) -> None:
        """Count a finding."""
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

    def findings(self, *severities: str) -> list[Finding]:
        """The findings, or those of some severities; errors come first."""
        found = [Finding('warning' if kind in self.warnings else 'error',
                         kind, count, self.examples[kind], self.fix(kind))
                 for kind, count in self.counts.items()]
        return sorted((item for item in found
                       if not severities or item.severity in severities),
                      key=lambda item: item.severity)

    def fix(self, *kinds: str) -> str:
        """A command that fixes these kinds, empty if none does."""
        return ''

    def lines(self, *severities: str) -> list[str]:
        """Describe each kind in a line."""
        return list(map(str, self.findings(*severities)))

    def check(self, source: str, remedy: str = 'Fix the file') -> None:
        """Raise a UserError if there are errors."""
        if lines := self.lines('error'):
            raise UserError(f'{source}: {"; ".join(lines)}. {remedy}')


@contextmanager
def damage_errors(what: str) -> Iterator[None]:
    """Report errors in the values of a file as a :class:`UserError`."""
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
    # All processes of a distributed job have the same error.
    if not is_first_process():
        sys.exit(1)
    if os.environ.get(DEBUG, '0') != '0':
        traceback.print_exc()
    sys.exit(f'{program}: error: {_message(error)}')


def _message(error: UserError) -> str:
    """The text, without the traceback that a worker of a loader adds."""
    text = Exception.__str__(error)
    return str(UserError(text.split(f'{UserError.__name__}: ')[-1].strip()))


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does.

    Ignored signals, such as SIGHUP under nohup, stay ignored. The launcher
    ends the processes of a distributed job.
    """
    process = os.getpid()

    def end(number: int, _) -> None:
        # Forked workers exit silently.
        if os.getpid() != process:
            os._exit(128 + number)
        _received[0] = number
        for other in ENDINGS:
            signal.signal(other, signal.SIG_IGN)
        # Torch would report workers that the same signal has ended.
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
            # tools/_ctrl_c.py has its own while libraries are imported.
            elif number == signal.SIGINT and handler != signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _endings() -> tuple[int, ...]:
    alone = os.environ.get('WORLD_SIZE', '1') == '1'
    return SIGNALS if alone else (signal.SIGINT, )


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Processes that start inside get none of the signals.

    They have to end with the first process, which handles them.
    """
    # Windows has no signal masks.
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    from multiprocessing import resource_tracker

    # It unblocks signals when it starts.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C, SIGTERM or SIGHUP caused an error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def exit_interrupted(words: str) -> NoReturn:
    """Exit with the status of a program that a signal ended."""
    # A second signal would cut the message short.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # The terminal may be closed.
    with suppress(OSError):
        if is_first_process():
            print(f'\n{words}', file=sys.stderr)
    sys.exit(128 + _received[0])
