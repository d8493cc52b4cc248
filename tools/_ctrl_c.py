"""Ctrl-C ends a tool in a line while it is still being imported.

A tool imports this first. ``one_line_errors`` takes over when it begins.
"""
import os
import signal
import sys


def end(*_) -> None:
    os.write(2, b'\nInterrupted.\n')
    os._exit(128 + signal.SIGINT)


# Neither where a tool runs within another program, nor in its spawned workers.
program = getattr(sys.modules['__main__'], '__file__', None) or ''
if (os.path.dirname(os.path.abspath(program))
        == os.path.dirname(os.path.abspath(__file__))
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
    signal.signal(signal.SIGINT, end)
