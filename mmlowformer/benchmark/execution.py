"""Prepare a model for timing: deploy, cast, compile, convert, check."""
import math
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
from ..utils.tensors import relative_error, tensors_in
from .backends import CONVERTERS
from .options import DTYPES, TOLERANCES, Options


@dataclass
class PreparedModel:
    """A model that is ready to be called."""

    call: Callable[[Tensor], object]
    # From float32 images to what ``call`` takes.
    cast: Callable[[Tensor], Tensor]
    # What was done to the model, in order.
    steps: list[str] = field(default_factory=list)
    compile_seconds: float = 0.
    # The context to call it in.
    guard: Callable = torch.inference_mode

    def run(self, images: Tensor) -> None:
        """Call the model on images that are cast."""
        with self.guard():
            self.call(images)


def prepare(model: nn.Module, options: Options,
            example: Tensor) -> PreparedModel:
    """Prepare a model as the options say."""
    steps = ['build']
    if options.deploy and isinstance(model, BaseModel):
        return _deploy_full_model(model, options, example)
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
        start = time.perf_counter()
        call = CONVERTERS[options.backend](model, images, options)
        return PreparedModel(call, cast, steps, time.perf_counter() - start)
    prepared = PreparedModel(
        _autocast(model, options) if options.amp else model, cast, steps)
    if options.compile:
        _compile(prepared, options.compile, images)
    if options.cuda_graph:
        prepared.call = _cuda_graph(prepared.call, images)
        steps.append('cuda graph')
    return prepared


def _deploy_full_model(model: BaseModel, options: Options,
                       example: Tensor) -> PreparedModel:
    """Deploy a detector, segmentor or classifier as users get it."""
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
    # It casts its inputs by itself.
    prepared = PreparedModel(model, Tensor.contiguous, steps,
                             guard=torch.no_grad)
    if options.compile:
        steps.append('compile default')
        prepared.compile_seconds = _time_first_call(prepared, example)
    return prepared


def _caster(options: Options) -> Callable[[Tensor], Tensor]:
    dtype = torch.float32 if options.amp else DTYPES[options.dtype]
    layout = (torch.channels_last if options.channels_last else
              torch.contiguous_format)
    return lambda x: x.to(dtype).contiguous(memory_format=layout)


def _deploy(model: nn.Module) -> str:
    """Fuse a backbone, and return the name of the step."""
    if type(model).__module__.startswith('timm.'):
        from timm.utils import reparameterize_model
        before = len(list(model.modules()))
        reparameterize_model(model, inplace=True)
        changed = len(list(model.modules())) != before
        return 'deploy (timm)' if changed else 'deploy (nothing to do)'
    deployable = [module for module in model.modules()
                  if hasattr(module, 'switch_to_deploy')]
    for module in deployable:
        cast(Callable, module.switch_to_deploy)()
    if isinstance(model, LowFormer):
        return 'deploy'
    return 'deploy (own)' if deployable else 'deploy (nothing to do)'


def _autocast(model: nn.Module, options: Options) -> Callable:
    def call(x: Tensor):
        with torch.autocast(options.device, DTYPES[options.dtype]):
            return model(x)

    return call


def _compile(prepared: PreparedModel, mode: str, images: Tensor) -> None:
    # All models share this code; none may evict the compilation of another.
    torch._dynamo.config.recompile_limit = 1000
    torch._dynamo.config.accumulated_recompile_limit = 1000
    # Weights are constants in inference.
    torch._inductor.config.freezing = True
    # Calls between the kernels take time in Python, too.
    torch._inductor.config.cpp_wrapper = images.device.type == 'cpu'
    prepared.call = torch.compile(prepared.call, mode=mode, dynamic=False)
    prepared.steps.append(f'compile {mode}')
    # Inference mode would compile once more.
    prepared.guard = torch.no_grad
    prepared.compile_seconds = _time_first_call(prepared, images)


def _time_first_call(prepared: PreparedModel, images: Tensor) -> float:
    start = time.perf_counter()
    with torch.no_grad():
        prepared.call(images)
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


def checked_errors(outputs, reference, dtype: str) -> list[float]:
    """Relative errors of outputs that are close enough to the reference."""
    errors = relative_errors(outputs, reference)
    if not all(map(math.isfinite, errors)):
        raise UserError(f'outputs are not finite in {dtype}')
    if max(errors) > TOLERANCES[dtype]:
        raise UserError('outputs differ from eager float32 by '
                        f'{max(errors):.1e}')
    return errors


def relative_errors(outputs, reference) -> list[float]:
    """Relative error of each output."""
    errors = [relative_error(*pair) for pair in zip(
        tensors_in(outputs), tensors_in(reference), strict=True)]
    if not errors:
        raise UserError('the model returns no tensors')
    return errors
