"""Options that several benchmarking tools share."""
import argparse
from dataclasses import fields

import torch

from ..errors import UserError
from .options import BACKENDS, DTYPES, Options, check_backend


def add_execution_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of execution: device, type, backend and so on."""
    parser.add_argument('--device', choices=['cpu', 'cuda'],
                        default='cuda' if torch.cuda.is_available() else 'cpu',
                        help='(default: cuda if available)')
    parser.add_argument('--dtype', choices=DTYPES, default='fp32',
                        help='data type of weights and images (default: '
                        'fp32)')
    parser.add_argument('--amp', action='store_true',
                        help='autocast instead of casting the weights')
    parser.add_argument('--channels-last', action='store_true',
                        help='use the channels-last memory format')
    parser.add_argument('--deploy', action='store_true',
                        help='rewrite the models for inference: fuse layers')
    parser.add_argument('--compile', nargs='?', const='default',
                        metavar='MODE', help='torch.compile, with freezing')
    parser.add_argument('--cuda-graph', action='store_true',
                        help='replay a CUDA graph, on a GPU')
    parser.add_argument('--fused', action='store_true',
                        help='fused optimizer, and chunked loss of '
                        'segmentors, for --mode train')
    parser.add_argument('--backend', choices=BACKENDS, default='torch',
                        help='runtime (default: torch)')


def add_timing_options(parser: argparse.ArgumentParser, min_time: float,
               repeats: int) -> None:
    """Add the options of timing."""
    parser.add_argument('--threads', type=int, metavar='N',
                        help="CPU threads (default: torch's choice)")
    parser.add_argument('--cpu-time', action='store_true',
                        help='count processor seconds instead of elapsed '
                        'time, for a shared machine; needs --threads 1')
    parser.add_argument('--min-time', type=float, default=min_time,
                        metavar='S', help='seconds of timing for each model '
                        f'(default: {min_time:g})')
    parser.add_argument('--repeats', type=int, default=repeats, metavar='N',
                        help='turns of each model, interleaved (default: '
                        f'{repeats})')


def check_execution_options(args: argparse.Namespace) -> None:
    """Refuse impossible combinations before anything is built."""
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: torch finds no GPU')
    if args.cuda_graph and args.device != 'cuda':
        raise UserError('--cuda-graph needs --device cuda')
    if args.cpu_time and (args.device != 'cpu' or args.threads != 1):
        raise UserError('--cpu-time adds up threads: it needs --device cpu '
                        'and --threads 1')
    if args.amp and args.dtype not in ('fp16', 'bf16'):
        raise UserError('--amp needs --dtype fp16 or bf16')
    check_backend(execution_options(args))
    for name in ('repeats', 'min_time', 'threads'):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise UserError(f'--{name.replace("_", "-")} has to be positive')


def execution_options(args: argparse.Namespace) -> Options:
    """The options as :func:`mmlowformer.benchmark.benchmark` takes them."""
    return Options(**{item.name: getattr(args, item.name)
                      for item in fields(Options)})
