"""From a model to what is timed: fused, laid out, cast, compiled."""
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
import torch._dynamo
import torch._inductor.config
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..deployment.deploy import deploy_in_place
from ..errors import UserError
from ..models import LowFormer
from ..ops.module_utils import to_channels_last
from .backends import EXPORTS
from .options import DTYPES, Options


@dataclass
class Variant:
    """Something to call.

    Attributes:
        call (Callable): Takes the images, returns the outputs.
        cast (Callable): From float32 images to what ``call`` takes.
        steps (list[str]): What was done to the model, in order.
        compile_seconds (float): Time for compiling, in the first call.
        guard (Callable): The context to call it in.
    """

    call: Callable[[Tensor], object]
    cast: Callable[[Tensor], Tensor]
    steps: list[str] = field(default_factory=list)
    compile_seconds: float = 0.
    guard: Callable = torch.inference_mode


def prepare(model: nn.Module, options: Options, example: Tensor) -> Variant:
    """Make a variant of a model."""
    steps = ['build']
    if options.deploy and isinstance(model, BaseModel):
        return _deployed_full_model(model, options, example)
    if options.deploy:
        steps.append(_deploy(model))
    cast = _caster(options)
    if options.channels_last:
        to_channels_last(model)
        steps.append('channels_last')
    if not options.amp:
        model.to(DTYPES[options.dtype])
    if options.dtype != 'fp32':
        steps.append(f'{"autocast " if options.amp else ""}{options.dtype}')
    images = cast(example)
    if options.backend != 'torch':
        steps.append(options.backend)
        call, seconds = EXPORTS[options.backend](model, images, options)
        return Variant(call, cast, steps, seconds)
    variant = Variant(_autocast(model, options) if options.amp else model,
                      cast, steps)
    if options.compile:
        variant.compile_seconds = _compile(variant, options.compile, images)
    if options.cuda_graph:
        variant.call = _cuda_graph(variant.call, images)
        steps.append('cuda graph')
    return variant


def _deployed_full_model(model: BaseModel, options: Options,
                    example: Tensor) -> Variant:
    """As users get a detector, segmentor or classifier."""
    if options.compile not in (None, 'default'):
        raise UserError(f'compile={options.compile}: a deployed model is '
                        'compiled in the default mode')
    if options.amp or options.backend != 'torch':
        raise UserError('a deployed model has its own data types, and is not '
                        'exported')
    deploy_in_place(model, compile=bool(options.compile),
                    dtype=DTYPES[options.dtype])
    steps = ['build', 'deploy (full model)']
    if options.dtype != 'fp32':
        steps.append(options.dtype)
    # Casts what it is given, as part of its work.
    variant = Variant(model, Tensor.contiguous, steps, guard=torch.no_grad)
    if options.compile:
        steps.append('compile default')
        start = time.perf_counter()
        model(example)
        variant.compile_seconds = time.perf_counter() - start
    return variant


def _caster(options: Options) -> Callable[[Tensor], Tensor]:
    dtype = torch.float32 if options.amp else DTYPES[options.dtype]
    layout = (torch.channels_last if options.channels_last else
              torch.contiguous_format)
    return lambda x: x.to(dtype).contiguous(memory_format=layout)


def _deploy(model: nn.Module) -> str:
    """Fuse what can be fused, and say which way."""
    if type(model).__module__.startswith('timm.'):
        from timm.utils import reparameterize_model
        before = len(list(model.modules()))
        reparameterize_model(model, inplace=True)
        changed = len(list(model.modules())) != before
        return 'deploy (timm)' if changed else 'deploy (nothing to do)'
    found = [module for module in model.modules()
             if hasattr(module, 'switch_to_deploy')]
    for module in found:
        cast(Callable, module.switch_to_deploy)()
    if isinstance(model, LowFormer):
        return 'deploy'
    return 'deploy (own)' if found else 'deploy (nothing to do)'


def _autocast(model: nn.Module, options: Options) -> Callable:
    def call(x: Tensor):
        with torch.autocast(options.device, DTYPES[options.dtype]):
            return model(x)

    return call


def _compile(variant: Variant, mode: str, images: Tensor) -> float:
    # Each model is a variant of the same code; none may push another out.
    torch._dynamo.config.recompile_limit = 1000
    torch._dynamo.config.accumulated_recompile_limit = 1000
    # Weights are constants of an inference.
    torch._inductor.config.freezing = True
    # The calls between the kernels take time, too, in Python.
    torch._inductor.config.cpp_wrapper = images.device.type == 'cpu'
    variant.call = torch.compile(variant.call, mode=mode, dynamic=False)
    variant.steps.append(f'compile {mode}')
    # In inference mode it would be compiled once more.
    variant.guard = torch.no_grad
    start = time.perf_counter()
    with torch.no_grad():
        variant.call(images)
    return time.perf_counter() - start


def _cuda_graph(call: Callable, images: Tensor) -> Callable:
    static = images.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call(static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = call(static)

    def replay(x: Tensor):
        static.copy_(x)
        graph.replay()
        return outputs

    return replay
