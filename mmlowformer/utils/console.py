"""What reaches the screen; the log file in the work dir holds everything."""
import io
import logging
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from logging.handlers import MemoryHandler
from typing import Any

import cv2
from mmengine.logging import MMLogger
from mmengine.logging.logger import FilterDuplicateWarning
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from ..errors import (
    exit_interrupted,
    is_first_process,
    is_interrupt,
    printable,
)
from .text import wrapped

# Warnings that the user can do nothing about.
SUPPRESSED_WARNINGS = re.compile('|'.join((
    # Libraries use their own deprecated names.
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'pkg_resources is deprecated',
    "'pkgutil.find_loader' is deprecated",
    '``build_loss`` would be deprecated',
    # torchrun gives each process one thread.
    r'Setting \w+_NUM_THREADS environment variable for each process',
    # The config means it so.
    'Default ``avg_non_ignore`` is False',
    'The draw is False',
    'The prefix is not set in metric class',
    # Done a moment later.
    'backend is not initialized because save_dir is None',
    'Failed to search registry with scope',
    # Shapes are checked on a model without memory (meta).
    r'copying from a non-meta parameter in the checkpoint to a meta param',
    # A predicted box may end outside the image.
    r'The (?:bbox|polygon) is out of bounds',
    # About GPUs, on a machine without.
    'No CUDA runtime is found, using CUDA_HOME',
    'CUTLASS backend is not supported with non-AOT cpp_wrapper',
)))
# Log messages of MMEngine's that a person wants to read.
SHOWN_MESSAGES = re.compile(
    r'\S+: \d+/\d+ tensors (?:of|from) |resumed epoch: |Downloading ')
# A metric's results by class.
TABLE = re.compile(r'per class results|\n\+-')
# What MMEngine and pycocotools print on their way.
LIBRARY_OUTPUT = re.compile(
    r'(?i)\s*$|loads checkpoint by|loading annotations|'
    r'loading and preparing|creating index|index created|'
    r'running per image|evaluate annotation|accumulating eval|'
    r'done ?\(t=|\s*average (?:precision|recall) ')


def _belongs_on_screen(record: logging.LogRecord) -> bool:
    """Whether a person at the terminal should read a record."""
    message = record.getMessage()
    if record.levelno >= logging.WARNING:
        return not SUPPRESSED_WARNINGS.search(message)
    return bool(getattr(record, 'on_screen', False)
                or SHOWN_MESSAGES.match(message)
                or _SCREEN.tables and TABLE.match(message))


class ScreenHandler(logging.StreamHandler):
    """Shows log records on the screen, above a progress bar if any."""

    def __init__(self, level: int):
        # MMEngine's MLflow backend looks at the stream of each handler.
        super().__init__(console().file)
        self.setLevel(level)
        self.addFilter(_belongs_on_screen)
        self.addFilter(FilterDuplicateWarning())

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record in lines that fit the terminal."""
        text, style = record.getMessage(), ''
        if record.levelno >= logging.WARNING:
            is_error = record.levelno >= logging.ERROR
            text = wrapped(f'{"Error" if is_error else "Warning"}: {text}',
                           '  ')
            style = 'red' if is_error else 'yellow'
        elif SHOWN_MESSAGES.match(text):
            text = wrapped(text, '  ')
        show(text, style)


class Terminal(Console):
    """A terminal whose end does not end the work."""

    def on_broken_pipe(self) -> None:
        """Go on when nobody reads any more, as with ``| head``."""


class _Screen:
    """The terminal of this process."""

    console: Console = Terminal(highlight=False)
    # Whether to show results by class.
    tables = False
    # What is shown at the bottom.
    bar: Progress | None = None
    # Records from before the log file exists.
    early = MemoryHandler(0)


_SCREEN = _Screen()


def console() -> Console:
    """The terminal that lines and progress bars share."""
    return _SCREEN.console


def set_bar(bar: Progress | None) -> None:
    """Show a bar at the bottom of the screen, in place of the last one."""
    if _SCREEN.bar is not None:
        _SCREEN.bar.stop()
    _SCREEN.bar = bar
    if bar is not None:
        bar.start()


def _visible(text: str) -> str:
    return printable(text, '\n\t', sys.maxsize)


def show(text: str, style: str = '') -> None:
    """Write to the screen alone."""
    if is_first_process():
        console().print(Text(_visible(text), style), soft_wrap=True)


def say(text: str) -> None:
    """Write to the screen and to the log file."""
    MMLogger.get_current_instance().info(
        _visible(text), extra=dict(on_screen=True))


def warn(text: str) -> None:
    """Warn on the screen and in the log file."""
    MMLogger.get_current_instance().warning(_visible(text))


def install_screen_handler(logger: MMLogger) -> None:
    """Let a logger write to the screen only what belongs there."""
    for index, handler in enumerate(logger.handlers):
        if type(handler) is logging.StreamHandler:
            level = (handler.level if is_first_process()
                     else max(handler.level, logging.ERROR))
            logger.handlers[index] = ScreenHandler(level)
    files = [handler for handler in logger.handlers
             if isinstance(handler, logging.FileHandler)]
    if files:
        _SCREEN.early.setTarget(files[0])
        _SCREEN.early.flush()
    elif _SCREEN.early not in logger.handlers:
        logger.handlers.append(_SCREEN.early)


class _Printed(io.TextIOBase):
    """Takes what libraries print; their progress goes to the log file."""

    def __init__(self):
        self.line = ''

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return console().is_terminal

    def write(self, text: str) -> int:
        *lines, self.line = (self.line + text).split('\n')
        author = sys._getframe(1).f_globals.get('__name__', '')
        for line in lines:
            if LIBRARY_OUTPUT.match(line) or author.startswith('trackeval.'):
                MMLogger.get_current_instance().info(line)
            else:
                # The last state of a library's progress bar.
                show(line.rstrip('\r').rpartition('\r')[2])
        return len(text)


def _show_warning(message, category, filename, lineno, file=None, line=None
                  ) -> None:
    MMLogger.get_current_instance().info(
        '%s', f'{filename}:{lineno}: {category.__name__}: {message}')
    if not SUPPRESSED_WARNINGS.search(str(message)):
        warn(str(message))


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """OpenCV's lines about broken images; our errors name the image."""
    # In OpenCV 5 and in OpenCV 4.
    log: Any = getattr(cv2.utils, 'logging', cv2)
    level = log.getLogLevel()
    log.setLogLevel(0)
    try:
        yield
    finally:
        log.setLogLevel(level)


class _PassedOn(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        MMLogger.get_current_instance().log(
            record.levelno, '%s', record.getMessage())


@contextmanager
def _torch_logs_here() -> Iterator[None]:
    """Torch writes to a stream of its own otherwise."""
    logger = logging.getLogger('torch')
    before, logger.handlers = logger.handlers, [_PassedOn()]
    try:
        yield
    finally:
        logger.handlers = before


@contextmanager
def quiet_screen(*, tables: bool = False) -> Iterator[None]:
    """Show what a person needs; the log file gets everything else.

    That covers what libraries log, warn of, and print.
    """
    before, _SCREEN.console = _SCREEN.console, Terminal(
        file=sys.stdout, highlight=False)
    _SCREEN.tables = tables
    _SCREEN.early = MemoryHandler(10_000, flushLevel=sys.maxsize)
    printed = _Printed()
    try:
        with warnings.catch_warnings(), redirect_stdout(printed), \
                _silent_opencv(), _torch_logs_here():
            warnings.showwarning = _show_warning
            # The current logger, until the run has its own.
            install_screen_handler(
                MMLogger.get_instance(f'before_{time.monotonic_ns()}'))
            yield
    finally:
        set_bar(None)
        if printed.line:
            printed.write('\n')
        _SCREEN.console = before


@contextmanager
def exit_on_interrupt(words: Callable[[], str]) -> Iterator[None]:
    """Exit with these words on Ctrl-C, SIGTERM and SIGHUP.

    Signals other than Ctrl-C are interrupts only within
    :func:`~mmlowformer.errors.one_line_errors`.
    """
    try:
        yield
    # An inner one has said its words before it exits.
    except SystemExit:
        raise
    except BaseException as error:
        if not is_interrupt(error):
            raise
        set_bar(None)
        exit_interrupted(wrapped(_visible(words())))
