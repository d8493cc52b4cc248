"""Distributions that each format is written and verified with."""
from types import ModuleType

from ..utils.imports import need, pinned

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
# Formats whose pinned packages work with the pinned torch only.
FOR_PINNED_TORCH = ('executorch', )
# Formats that no runtime on this machine can execute.
NOT_RUNNABLE = ('coreml', )


def module_of(distribution: str) -> str:
    """The module that a distribution in this file provides."""
    return distribution.replace('-', '_')


def need_pinned(module: str) -> ModuleType:
    """Import a module of a distribution that is named here."""
    return need(module, pinned(
        module.partition('.')[0].replace('_', '-')))
