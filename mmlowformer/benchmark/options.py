"""Options of the execution of a model, from the command line."""
from dataclasses import dataclass

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


FLAGS = ('deploy', 'channels_last', 'amp', 'cuda_graph', 'fused')
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
