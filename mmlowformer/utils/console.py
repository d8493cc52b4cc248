"""What reaches the screen; the log file in the work dir holds everything."""
import io
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from logging.handlers import MemoryHandler
from typing import Any

import cv2
from mmengine.logging import MMLogger
from mmengine.logging.logger import FilterDuplicateWarning

from ..errors import is_first_process
from .terminal import console, show, terminal_of
from .text import visible, wrapped

# Warnings that the user can do nothing about.
SUPPRESSED_WARNINGS = re.compile('|'.join((
    # Libraries use deprecated names.
    '"FileClient" will be deprecated', '"HardDiskBackend" is the alias',
    r"(?:pkg_resources|'pkgutil\.find_loader') is deprecated",
    '``build_loss`` would be deprecated',
    # In mmdet and mmpretrain, when they are compiled by Python 3.12 or newer.
    'invalid escape sequence',
    # torchrun gives each process one thread.
    r'Setting \w+_NUM_THREADS environment variable for each process',
    # The config means it so, or it is done a moment later.
    'Default ``avg_non_ignore`` is False', 'The draw is False',
    'The prefix is not set in metric class', 'because save_dir is None',
    # ResumeOrderHook skips them without loading.
    r'Advance dataloader \d+ steps',
    'Failed to search registry with scope',
    # Shapes are checked on a model without memory (meta).
    'copying from a non-meta parameter in the checkpoint to a meta param',
    # A predicted box may end outside the image.
    'The (?:bbox|polygon) is out of bounds',
    # About GPUs, on a machine without.
    'No CUDA runtime is found, using CUDA_HOME',
    'CUTLASS backend is not supported with non-AOT cpp_wrapper')))
# Log messages of MMEngine's that a person wants to read.
SHOWN_MESSAGES = re.compile(
    r'\S+: \d+/\d+ tensors (?:of|from) |resumed epoch: |Downloading ')
# A metric's results by class.
TABLE = re.compile(r'per class results|\n\+-')
# What MMEngine, pycocotools and TrackEval print on their way.
LIBRARY_OUTPUT = re.compile(
    r'(?i)\s*$|loads checkpoint by|loading (?:annotations|and preparing)|'
    r'creating index|index created|running per image|evaluate annotation|'
    r'accumulating eval|done ?\(t=|\s*average (?:precision|recall) |'
    r'\w+ config:$|(?-i:[A-Z_]+ +: )|evaluating (?:\S+$|\d+ tracker)|'
    r'all sequences for|.{35}(?:\S+ +)+$|'
    r'timing analysis:$|.{70,} \d+\.\d{4} sec$')


def _belongs_on_screen(record: logging.LogRecord) -> bool:
    """Whether a person at the terminal should read a record."""
    message = record.getMessage()
    if record.levelno >= logging.WARNING:
        return not SUPPRESSED_WARNINGS.search(message)
    return bool(getattr(record, 'on_screen', False)
                or SHOWN_MESSAGES.match(message)
                or _Settings.tables and TABLE.match(message))


class ScreenHandler(logging.StreamHandler):
    """Shows log records on the screen, above a progress bar if any."""

    def __init__(self, level: int):
        # MMEngine's MLflow backend looks at the stream of each handler.
        super().__init__(console().file)
        self.setLevel(level)
        self.addFilter(_belongs_on_screen)
        self.addFilter(_Settings.shown)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record in lines that fit the terminal."""
        text, style = record.getMessage(), ''
        if record.levelno >= logging.WARNING:
            text = f'{record.levelname.title()}: {text}'
            style = 'red' if record.levelno >= logging.ERROR else 'yellow'
        if style or SHOWN_MESSAGES.match(text):
            text = wrapped(text, '  ')
        show(text, style)


class _Settings:
    tables = False  # Whether to show results by class.
    early = MemoryHandler(0)  # Records from before the log file exists.
    shown = FilterDuplicateWarning()


def say(text: str) -> None:
    """Write to the screen and to the log file."""
    _log(logging.INFO, visible(text), extra=dict(on_screen=True))


def warn(text: str) -> None:
    """Warn on the screen and in the log file."""
    _log(logging.WARNING, visible(text))


def _log(level: int, text: str, **kwargs: Any) -> None:
    MMLogger.get_current_instance().log(level, text, **kwargs)


def install_screen_handler(logger: MMLogger) -> None:
    """Let a logger write to the screen only what belongs there."""
    for index, handler in enumerate(logger.handlers):
        if type(handler) is logging.StreamHandler:
            level = logging.NOTSET if is_first_process() else logging.ERROR
            logger.handlers[index] = ScreenHandler(max(handler.level, level))
        elif isinstance(handler, logging.FileHandler):
            _Settings.early.setTarget(handler)
            _Settings.early.flush()


class _PrintedLines(io.TextIOBase):
    """Logs what libraries print; shows other lines, above a bar if any."""

    rest = ''

    def close(self) -> None:
        if self.rest:
            self.write('\n')
        super().close()

    def isatty(self) -> bool:
        return console().is_terminal

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split('\n')
        for line in lines:
            if LIBRARY_OUTPUT.match(line):
                _log(logging.INFO, line)
            else:
                # The last state of a library's progress bar.
                show(line.rstrip('\r').rpartition('\r')[2])
        return len(text)


class _PassOnHandler(logging.Handler):
    """Passes records on to the logger of the run."""

    def emit(self, record: logging.LogRecord) -> None:
        _log(record.levelno, record.getMessage())


def _log_warning(message, category, filename, lineno, file=None, line=None
                 ) -> None:
    _log(logging.INFO, f'{filename}:{lineno}: {category.__name__}: {message}')
    if not SUPPRESSED_WARNINGS.search(str(message)):
        warn(str(message))


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Hide warnings that the user can do nothing about."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            'ignore', f'.*(?:{SUPPRESSED_WARNINGS.pattern})')
        yield


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


@contextmanager
def _torch_logs_here() -> Iterator[None]:
    """Torch writes to a stream of its own otherwise."""
    logger = logging.getLogger('torch')
    before, logger.handlers = logger.handlers, [_PassOnHandler()]
    try:
        yield
    finally:
        logger.handlers = before


@contextmanager
def quiet_screen(*, tables: bool = False) -> Iterator[None]:
    """Show what a person needs; log what else libraries say and print."""
    _Settings.tables = tables
    _Settings.shown = FilterDuplicateWarning()
    _Settings.early = MemoryHandler(10_000, flushLevel=sys.maxsize)
    with (terminal_of(sys.stdout), _PrintedLines() as lines,
          redirect_stdout(lines), _silent_opencv(), _torch_logs_here(),
          warnings.catch_warnings()):
        warnings.showwarning = _log_warning
        # The current logger, until the run has its own.
        logger = MMLogger.get_instance(f'before_{time.monotonic_ns()}')
        install_screen_handler(logger)
        logger.addHandler(_Settings.early)
        yield
