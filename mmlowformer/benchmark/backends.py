"""Convert models for other runtimes."""
import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..utils.imports import need
from ..utils.tensors import tensors_in
from .options import Options


class _FlatOutputs(nn.Module):
    """Returns a tuple of tensors, whatever the model returns."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        # An exporter restores the mode that it finds.
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensors_in(self.model(x)))


def _torchscript(model: nn.Module, images: Tensor,
                 options: Options) -> Callable:
    """As the authors measure: traced, frozen, optimized for inference."""
    traced = torch.jit.trace(_FlatOutputs(model), images)
    call = torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))
    for _ in range(3):
        call(images)
    return call


def onnx_bytes(model: nn.Module, images: Tensor) -> bytes:
    """Write a model as ONNX."""
    need('onnx', 'onnx onnxruntime')
    with (tempfile.TemporaryDirectory() as folder,
          contextlib.redirect_stdout(io.StringIO())):
        file = Path(folder, 'model.onnx')
        torch.onnx.export(_FlatOutputs(model), (images, ), file, dynamo=False,
                          input_names=['images'], opset_version=17)
        return file.read_bytes()


def onnx_session(file: bytes, options: Options, profile: str | None = None):
    """Open an ONNX file with ONNX Runtime."""
    onnxruntime = need('onnxruntime', 'onnx onnxruntime')
    provider = 'CUDAExecutionProvider' if options.device == 'cuda' else \
        'CPUExecutionProvider'
    # It would fall back to the CPU with a warning.
    if provider not in onnxruntime.get_available_providers():
        raise UserError(f'this ONNX Runtime has no {provider}: pip install '
                        'onnxruntime-gpu')
    settings = onnxruntime.SessionOptions()
    # Warnings are about constants that it folds by itself.
    settings.log_severity_level = 3
    if profile:
        settings.enable_profiling = True
        settings.profile_file_prefix = profile
    if options.threads:
        settings.intra_op_num_threads = options.threads
    # Otherwise its threads spin while the next model is timed.
    settings.add_session_config_entry('session.force_spinning_stop', '1')
    return onnxruntime.InferenceSession(file, settings, providers=[provider])


def _onnxruntime(model: nn.Module, images: Tensor,
                 options: Options) -> Callable:
    need('onnxruntime', 'onnx onnxruntime')
    session = onnx_session(onnx_bytes(model, images), options)

    def call(x: Tensor):
        results = session.run(None, {'images': x.cpu().numpy()})
        return [torch.from_numpy(result) for result in results]

    return call


def openvino_model(model: nn.Module, images: Tensor, options: Options,
                   **more):
    """Convert a model for OpenVINO, and compile it for the CPU."""
    openvino = need('openvino', 'openvino')
    converted = openvino.convert_model(_FlatOutputs(model.float()),
                                       example_input=images.float(),
                                       input=list(images.shape))
    precision = dict(bf16='bf16', fp16='f16').get(options.dtype, 'f32')
    settings = {'INFERENCE_PRECISION_HINT': precision, **more}
    if options.threads:
        settings['INFERENCE_NUM_THREADS'] = options.threads
    return openvino.Core().compile_model(converted, 'CPU', settings)


def _openvino(model: nn.Module, images: Tensor, options: Options) -> Callable:
    compiled = openvino_model(model, images, options)

    def call(x: Tensor):
        results = compiled(x.float().numpy())
        return [torch.from_numpy(results[i]) for i in range(len(results))]

    return call


CONVERTERS = dict(torchscript=_torchscript, onnxruntime=_onnxruntime,
                  openvino=_openvino)
