"""What the tools ask about deployment."""
import argparse

from ..errors import UserError
from ..utils.console import show
from ..utils.text import line
from .deploy import DTYPES


def add_deploy_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--deploy`` and how to do it."""
    parser.add_argument('--deploy', action='store_true',
                        help='rewrite a copy of the model for inference, '
                        'which leaves its outputs unchanged')
    parser.add_argument('--compile', action='store_true',
                        help='with --deploy: compile it, for each size of '
                        'images anew (takes a minute, needs a C++ compiler)')
    parser.add_argument('--dtype', choices=list(DTYPES), default='fp32',
                        help='with --deploy: what the network computes in; '
                        'decoding and NMS stay in float32 (fp32)')


def deploy_settings(args: argparse.Namespace) -> dict | None:
    """How to deploy, as ``DeployHook`` and ``Predictor`` take it."""
    if args.deploy:
        return dict(compile=args.compile, dtype=args.dtype)
    if args.compile or args.dtype != 'fp32':
        raise UserError('--compile and --dtype are for a deployed model: add '
                        '--deploy')
    return None


def tell_of_compiling(args: argparse.Namespace) -> None:
    """Say why the first images take long, where they will."""
    if args.deploy and args.compile:
        show(line('Note', 'compiled with the first images of each size, which '
                  'takes a minute'))
