"""Options of measurements that several tools have."""
import argparse
from dataclasses import fields

import torch

from ..errors import UserError
from .options import BACKENDS, DTYPES, Options, check_backend


def add_ways(parser: argparse.ArgumentParser) -> None:
    """Add what is done to the models, and on which device."""
    parser.add_argument('--device', choices=['cpu', 'cuda'],
                        default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--dtype', choices=DTYPES, default='fp32')
    parser.add_argument('--amp', action='store_true',
                        help='autocast instead of casting the weights')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--deploy', action='store_true',
                        help='fuse the models for inference')
    parser.add_argument('--compile', nargs='?', const='default',
                        metavar='MODE', help='torch.compile, with freezing')
    parser.add_argument('--cuda-graph', action='store_true')
    parser.add_argument('--backend', choices=BACKENDS, default='torch')


def add_timing(parser: argparse.ArgumentParser, min_time: float,
               repeats: int) -> None:
    """Add how thoroughly to measure."""
    parser.add_argument('--threads', type=int, metavar='N')
    parser.add_argument('--cpu-time', action='store_true',
                        help='seconds of the processor instead of the clock: '
                        'for a machine that others use as well; needs '
                        '--threads 1')
    parser.add_argument('--min-time', type=float, default=min_time,
                        metavar='S', help='seconds that each model is timed '
                        f'for ({min_time:g})')
    parser.add_argument('--repeats', type=int, default=repeats, metavar='N',
                        help=f'turns that each model takes ({repeats})')


def check_ways(args: argparse.Namespace) -> None:
    """Say what cannot be before anything is built."""
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: torch finds no GPU')
    if args.cuda_graph and args.device != 'cuda':
        raise UserError('--cuda-graph needs --device cuda')
    if args.cpu_time and (args.device != 'cpu' or args.threads != 1):
        raise UserError('--cpu-time adds up threads: it needs --device cpu '
                        'and --threads 1')
    if args.amp and args.dtype not in ('fp16', 'bf16'):
        raise UserError('--amp needs --dtype fp16 or bf16')
    check_backend(options_of(args))
    for name in ('repeats', 'min_time'):
        if getattr(args, name) <= 0:
            raise UserError(f'--{name.replace("_", "-")} has to be positive')
    if args.threads is not None and args.threads < 1:
        raise UserError('--threads has to be positive')


def options_of(args: argparse.Namespace) -> Options:
    """The options as :func:`mmlowformer.benchmark.run.measure` takes them."""
    return Options(**{item.name: getattr(args, item.name)
                      for item in fields(Options)})
