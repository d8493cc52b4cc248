"""Command line arguments of deployment."""
import argparse

from ..errors import UserError
from ..utils.console import show
from ..utils.text import line
from .deploy import DTYPES


def add_deploy_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--deploy`` and how to do it."""
    parser.add_argument('--deploy', action='store_true',
                        help='use a copy of the model that is rewritten for '
                        'inference, with the same outputs')
    parser.add_argument('--compile', action='store_true',
                        help='with --deploy: compile it for each image size '
                        '(takes a minute each, needs a C++ compiler)')
    parser.add_argument('--dtype', choices=list(DTYPES), default='fp32',
                        help='with --deploy: data type of the network; '
                        'decoding and NMS stay in float32 (default: fp32)')


def deploy_settings(args: argparse.Namespace) -> dict | None:
    """Keyword arguments of ``DeployHook``, or of ``deploy``."""
    if args.deploy:
        return dict(compile=args.compile, dtype=args.dtype)
    if args.compile or args.dtype != 'fp32':
        raise UserError('--compile and --dtype need --deploy')
    return None


def print_compile_note(args: argparse.Namespace) -> None:
    """Explain why the first images take long."""
    if args.deploy and args.compile:
        show(line('Note', 'the first images of each size are compiled for, '
                  'which takes a minute'))
