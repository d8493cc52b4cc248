"""Distributions that each format is written and verified with."""
import sys
from types import ModuleType

from ..errors import UserError
from ..utils.imports import need, pinned, without_wheel

PACKAGES: dict[str, tuple[str, ...]] = dict(
    onnx=('onnxscript', 'onnx', 'onnxruntime'),
    # Exported through ONNX, which keeps the names of the outputs.
    openvino=('onnxscript', 'onnx', 'openvino'),
    pt2=(),
    ncnn=('pnnx', 'ncnn'),
    executorch=('executorch', ),
    # The converter accepts any transformers; mmpretrain 1.2.0 does not.
    tflite=('litert-torch', 'ai-edge-litert', 'transformers'),
    coreml=('coremltools', ))
# For 8-bit exports also:
INT8_PACKAGES: dict[str, tuple[str, ...]] = dict(
    openvino=('nncf', ), tflite=('ai-edge-quantizer', ))
# Formats that no runtime on this machine can execute.
NOT_RUNNABLE = ('coreml', )


def module_of(distribution: str) -> str:
    """The module that a distribution in this file provides."""
    return distribution.replace('-', '_')


def need_pinned(module: str) -> ModuleType:
    """Import a module of a distribution that is named here."""
    name = module.partition('.')[0].replace('_', '-')
    if without_wheel(name):
        raise UserError(f'{name} has no wheel for Python {sys.version[:4]}: '
                        'use an older Python')
    return need(module, pinned(name))
