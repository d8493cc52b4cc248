"""Options of the execution of models, and of timing, from the command line."""
import argparse
from dataclasses import dataclass, field, fields

import torch

from ..errors import UserError

DTYPES = dict(fp32=torch.float32, tf32=torch.float32, fp16=torch.float16,
              bf16=torch.bfloat16)
BACKENDS = ('torch', 'torchscript', 'onnxruntime', 'openvino')
# Largest relative error of an output against eager float32 that passes.
TOLERANCES = dict(fp32=1e-3, tf32=2e-2, fp16=5e-2, bf16=3e-1)


@dataclass
class Options:
    """Options of the execution, in the order of the steps."""

    # By LowFormer's own fusions, timm's reparameterization, or a model's
    # switch_to_deploy; a full model of OpenMMLab by mmlowformer.deploy.
    deploy: bool = False
    channels_last: bool = False
    dtype: str = 'fp32'
    # Autocast instead of casting the weights.
    amp: bool = False
    # Mode of torch.compile.
    compile: str | None = None
    cuda_graph: bool = False
    # Fused optimizer of a training, and losses of segmentors in chunks.
    fused: bool = False
    backend: str = 'torch'
    device: str = 'cpu'
    threads: int | None = None


@dataclass
class Settings:
    """What to measure, and for how long."""

    # Height and width of the images.
    shape: tuple[int, int] = (512, 512)
    batch_size: int = 2
    mode: str = 'throughput'
    options: Options = field(default_factory=Options)
    # Seconds of timing for each model, in all turns together.
    min_time: float = 5.
    # Turns of each model.
    repeats: int = 9
    # At least so much warm-up.
    warm_up_calls: int = 3
    warm_up_time: float = 1.
    # Of the images and weights.
    seed: int = 0
    # Calls of each model to profile after timing.
    profiled_calls: int = 0
    # Count processor seconds instead of elapsed time.
    cpu_time: bool = False


FLAGS = ('deploy', 'channels_last', 'amp', 'cuda_graph', 'fused')
MODES = ('throughput', 'latency', 'train')
# TF32 is a switch of the whole process.
OWN_DTYPES = ('fp32', 'fp16', 'bf16')


def options_for(options: Options, text: str | None) -> Options:
    """Parse the options of a single model, as in ``deploy,bf16``."""
    if text is None:
        return options
    own = Options(device=options.device, threads=options.threads)
    for word in text.split(','):
        if word in FLAGS:
            setattr(own, word, True)
        elif word in OWN_DTYPES:
            own.dtype = word
        elif word in BACKENDS:
            own.backend = word
        elif word.partition('=')[0] == 'compile':
            own.compile = word.partition('=')[2] or 'default'
        elif word != 'eager':
            allowed = ('eager', *FLAGS, 'compile', *OWN_DTYPES, *BACKENDS)
            raise UserError(f'@{text}: {word!r} is none of '
                            f'{", ".join(allowed)}')
    check_backend(own)
    return own


def check_backend(options: Options) -> None:
    """Refuse options that a backend does not support."""
    backend = options.backend
    if backend == 'torch':
        return
    if options.compile:
        raise UserError(f'the backend {backend} compiles by itself: omit '
                        'compile')
    if options.amp or options.cuda_graph:
        raise UserError('amp and cuda_graph are for torch itself: omit them '
                        f'or the backend {backend}')
    if backend == 'onnxruntime' and options.dtype == 'bf16':
        raise UserError('ONNX Runtime has no convolutions in bf16: use fp32, '
                        'fp16 or the backend openvino')
    if backend == 'openvino' and options.device == 'cuda':
        raise UserError('the backend openvino runs on the CPU: use --device '
                        'cpu or another backend')


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
