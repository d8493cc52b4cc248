"""Packages that write and verify each format; does not import torch.

Versions are those of ``requirements/export.txt``, which an installed package
lacks.
"""
from types import ModuleType

from ..utils.imports import need

# Modules and their distributions.
Packages = tuple[tuple[str, str], ...]

ONNX: Packages = (('onnxscript', 'onnxscript==0.7.2'),
                  ('onnx', 'onnx==1.23.2'),
                  ('onnxruntime', 'onnxruntime==1.31.1'))
PACKAGES: dict[str, Packages] = dict(
    onnx=ONNX,
    # Written by way of ONNX, which keeps the names of the outputs.
    openvino=(*ONNX[:2], ('openvino', 'openvino==2026.4.1')),
    pt2=(),
    ncnn=(('pnnx', 'pnnx==20261020'), ('ncnn', 'ncnn==1.0.20261020')),
    # For torch 2.12; the runtime of version 1.5 fails with it.
    executorch=(('executorch', 'executorch==1.3.1'), ),
    # mmpretrain 1.2.0 cannot be imported with a newer transformers, which the
    # converter requires.
    tflite=(('litert_torch', 'litert-torch==0.10.0'),
            ('ai_edge_litert', 'ai-edge-litert==2.3.0'),
            ('transformers', 'transformers==4.40.2')),
    coreml=(('coremltools', 'coremltools==9.0'), ))
# Additional packages for 8 bits.
INT8_PACKAGES: dict[str, Packages] = dict(
    openvino=(('nncf', 'nncf==3.4.0'), ),
    tflite=(('ai_edge_quantizer', 'ai-edge-quantizer==0.10.0'), ))
# The torch that a format's packages were built for.
TORCH_VERSIONS: dict[str, str] = dict(executorch='torch==2.12.1')
# Can be written on any machine, but not run, so not verified.
NOT_RUNNABLE = ('coreml', )


def need_pinned(module: str) -> ModuleType:
    """Import a module of one of these packages."""
    pins = {name: package
            for packages in (*PACKAGES.values(), *INT8_PACKAGES.values())
            for name, package in packages}
    return need(module, pins[module.partition('.')[0]])
