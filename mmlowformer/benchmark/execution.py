"""From a model to what is timed: fused, laid out, cast, compiled."""
import contextlib
import io
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
import torch._dynamo
import torch._inductor.config
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..deployment.deploy import deploy_in_place
from ..deployment.tracing import tensors_in
from ..errors import UserError
from ..models import LowFormer
from ..models.reparameterize import to_channels_last
from .models import need

DTYPES = dict(fp32=torch.float32, tf32=torch.float32, fp16=torch.float16,
              bf16=torch.bfloat16)
BACKENDS = ('torch', 'torchscript', 'onnxruntime', 'openvino')
# Largest relative error of an output against eager float32 that passes.
TOLERANCES = dict(fp32=1e-3, tf32=2e-2, fp16=5e-2, bf16=3e-1)


@dataclass
class Options:
    """How a model is prepared; the order of the fields is that of the steps.

    Attributes:
        deploy (bool): Fuse for inference: LowFormer's own fusions, timm's
            reparameterization, or a model's ``switch_to_deploy``; whole
            models of OpenMMLab by :func:`mmlowformer.deploy`.
        channels_last (bool): Lay weights and input out channels-last.
        dtype (str): One of :data:`DTYPES`.
        amp (bool): Autocast instead of casting the weights.
        compile (str, optional): Mode of ``torch.compile``.
        cuda_graph (bool): Record and replay the calls.
        backend (str): One of :data:`BACKENDS`.
        device (str): ``cpu`` or ``cuda``.
        threads (int, optional): Threads on a CPU.
    """

    deploy: bool = False
    channels_last: bool = False
    dtype: str = 'fp32'
    amp: bool = False
    compile: str | None = None
    cuda_graph: bool = False
    backend: str = 'torch'
    device: str = 'cpu'
    threads: int | None = None


FLAGS = ('deploy', 'channels_last', 'amp', 'cuda_graph')
# TF32 is a switch of the whole process.
OWN_DTYPES = ('fp32', 'fp16', 'bf16')


def options_for(options: Options, text: str | None) -> Options:
    """The options of a single model.

    Args:
        options (Options): Those of all models.
        text (str, optional): What is behind the ``@`` of a model's name:
            ``eager``, or names of options, data types and backends with
            commas between, instead of those of all models. Defaults to none.

    Returns:
        Options: Device and threads as those of all models.

    Raises:
        UserError: If there is no such option.
    """
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
    """Say what a backend cannot do before anything is built.

    Args:
        options (Options): Of a model.

    Raises:
        UserError: If the options do not go with the backend.
    """
    backend = options.backend
    if backend == 'torch':
        return
    if options.compile:
        raise UserError(f'the backend {backend} compiles by itself: leave '
                        'compile out')
    if options.amp or options.cuda_graph:
        raise UserError('amp and cuda_graph are for torch itself: leave them '
                        f'out, or the backend {backend}')
    if backend == 'onnxruntime' and options.dtype == 'bf16':
        raise UserError('ONNX Runtime convolves nothing in bf16: take fp32, '
                        'fp16, or the backend openvino')
    if backend == 'openvino' and options.device == 'cuda':
        raise UserError('the backend openvino computes on the CPU: take the '
                        'device cpu, or another backend')


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
    """Make a variant of a model.

    Args:
        model (nn.Module): In eval mode, on the device; is changed.
        options (Options): What to do.
        example (Tensor): Images of the shape that is going to be used,
            float32, on the device.

    Returns:
        Variant: What is to be timed.

    Raises:
        UserError: If a library is missing.
    """
    steps = ['build']
    if options.deploy and isinstance(model, BaseModel):
        return _deployed_whole(model, options, example)
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


def _deployed_whole(model: BaseModel, options: Options,
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
    steps = ['build', 'deploy (whole)']
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


class _Flat(nn.Module):
    """Returns a tuple of tensors, whatever the model returns."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        # An exporter restores the mode that it finds.
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensors_in(self.model(x)))


def _torchscript(model: nn.Module, images: Tensor, options: Options) -> tuple:
    """As the authors measure: traced, frozen, optimized for inference."""
    start = time.perf_counter()
    traced = torch.jit.trace(_Flat(model), images)
    call = torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))
    for _ in range(3):
        call(images)
    return call, time.perf_counter() - start


def onnx_bytes(model: nn.Module, images: Tensor) -> bytes:
    """Write a model as ONNX.

    Args:
        model (nn.Module): In eval mode.
        images (Tensor): Of the shape and data type that it is going to take.

    Returns:
        bytes: The file; its input is called ``images``.
    """
    need('onnx', 'onnx onnxruntime')
    with (tempfile.TemporaryDirectory() as folder,
          contextlib.redirect_stdout(io.StringIO())):
        file = Path(folder, 'model.onnx')
        torch.onnx.export(_Flat(model), (images, ), file, dynamo=False,
                          input_names=['images'], opset_version=17)
        return file.read_bytes()


def onnx_session(file: bytes, options: Options, profile: str | None = None):
    """Open an ONNX file with ONNX Runtime.

    Args:
        file (bytes): From :func:`onnx_bytes`.
        options (Options): Device and threads.
        profile (str, optional): What the names of files begin with that the
            times of nodes are written to. Defaults to no such file.

    Returns:
        onnxruntime.InferenceSession: Ready to run.

    Raises:
        UserError: If this ONNX Runtime does not know the device.
    """
    onnxruntime = need('onnxruntime', 'onnx onnxruntime')
    provider = 'CUDAExecutionProvider' if options.device == 'cuda' else \
        'CPUExecutionProvider'
    # It would take the CPU instead, and say so in a warning.
    if provider not in onnxruntime.get_available_providers():
        raise UserError(f'this ONNX Runtime has no {provider}: pip install '
                        'onnxruntime-gpu')
    settings = onnxruntime.SessionOptions()
    # Its own warnings are about what the exporter left for it to fold.
    settings.log_severity_level = 3
    if profile:
        settings.enable_profiling = True
        settings.profile_file_prefix = profile
    if options.threads:
        settings.intra_op_num_threads = options.threads
    # Or its threads would go on waiting for work, at full speed, while the
    # next model is timed.
    settings.add_session_config_entry('session.force_spinning_stop', '1')
    return onnxruntime.InferenceSession(file, settings, providers=[provider])


def _onnxruntime(model: nn.Module, images: Tensor, options: Options) -> tuple:
    need('onnxruntime', 'onnx onnxruntime')
    start = time.perf_counter()
    session = onnx_session(onnx_bytes(model, images), options)

    def call(x: Tensor):
        results = session.run(None, {'images': x.cpu().numpy()})
        return [torch.from_numpy(result) for result in results]

    return call, time.perf_counter() - start


def openvino_model(model: nn.Module, images: Tensor, options: Options,
                   **more):
    """Convert a model for OpenVINO, and compile it for the CPU.

    Args:
        model (nn.Module): In eval mode; is made float32.
        images (Tensor): Of the shape that it is going to take.
        options (Options): Data type and threads.
        **more: Other properties of OpenVINO.

    Returns:
        openvino.CompiledModel: Ready to run.
    """
    openvino = need('openvino', 'openvino')
    converted = openvino.convert_model(_Flat(model.float()),
                                       example_input=images.float(),
                                       input=list(images.shape))
    precision = dict(bf16='bf16', fp16='f16').get(options.dtype, 'f32')
    settings = {'INFERENCE_PRECISION_HINT': precision, **more}
    if options.threads:
        settings['INFERENCE_NUM_THREADS'] = options.threads
    return openvino.Core().compile_model(converted, 'CPU', settings)


def _openvino(model: nn.Module, images: Tensor, options: Options) -> tuple:
    start = time.perf_counter()
    compiled = openvino_model(model, images, options)

    def call(x: Tensor):
        results = compiled(x.float().numpy())
        return [torch.from_numpy(results[i]) for i in range(len(results))]

    return call, time.perf_counter() - start


EXPORTS = dict(torchscript=_torchscript, onnxruntime=_onnxruntime,
               openvino=_openvino)


def checked_errors(outputs, reference, dtype: str) -> list[float]:
    """How far outputs are from those of eager float32.

    Args:
        outputs: Tensors, or lists, tuples and dicts of them.
        reference: The same, of eager float32.
        dtype (str): What they were computed in, one of :data:`DTYPES`.

    Returns:
        list[float]: As :func:`relative_errors`.

    Raises:
        UserError: If one is too far.
    """
    errors = relative_errors(outputs, reference)
    if not all(map(math.isfinite, errors)):
        raise UserError(f'outputs are not finite in {dtype}')
    if max(errors) > TOLERANCES[dtype]:
        raise UserError('outputs differ from those of eager float32 by '
                        f'{max(errors):.1e}')
    return errors


def relative_errors(outputs, reference) -> list[float]:
    """The largest difference over the largest value, for each output."""
    pairs = [(output.float().cpu(), target.float().cpu()) for output, target
             in zip(tensors_in(outputs), tensors_in(reference), strict=True)]
    if not pairs:
        raise UserError('the model returns no tensors')
    return [((output - target).abs().max()
             / target.abs().max().clamp_min(1e-12)).item()
            for output, target in pairs]
