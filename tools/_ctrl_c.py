"""Ctrl-C ends a tool in a line while it is still being imported.

A tool imports this first. ``one_line_errors`` takes over when it begins. A
package that is not installed ends a tool in a line, too, at any time.
"""
import importlib.util
import os
import signal
import sys


def end(*_) -> None:
    os.write(2, b'\nInterrupted.\n')
    os._exit(128 + signal.SIGINT)


def say_what_is_missing(kind, error, trace) -> None:
    package = (getattr(error, 'name', None) or '').partition('.')[0]
    # Only a part of an installed package is missing because of a bug.
    if (issubclass(kind, ModuleNotFoundError)
            and not importlib.util.find_spec(package)
            and os.environ.get('MMLOWFORMER_DEBUG', '0') == '0'):
        sys.stderr.write(
            f'{os.path.basename(program)}: error: {package} is not installed: '
            '"python -m mmlowformer.doctor" says how to install it\n')
    else:
        sys.__excepthook__(kind, error, trace)


# Neither where a tool runs within another program, nor in its spawned workers.
program = getattr(sys.modules['__main__'], '__file__', None) or ''
if (os.path.dirname(os.path.abspath(program))
        == os.path.dirname(os.path.abspath(__file__))):
    sys.excepthook = say_what_is_missing
    # A shell's background jobs ignore it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
