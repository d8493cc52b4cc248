"""What each format is written and verified with; torch is not imported.

Versions are those of ``requirements/export.txt``, which an installed package
lacks.
"""
from types import ModuleType

from ..utils.imports import need

# Modules, and the distributions that have them.
Needs = tuple[tuple[str, str], ...]

ONNX: Needs = (('onnxscript', 'onnxscript==0.7.2'), ('onnx', 'onnx==1.23.2'),
               ('onnxruntime', 'onnxruntime==1.31.1'))
NEEDS: dict[str, Needs] = dict(
    onnx=ONNX,
    # By way of ONNX, for the names of the outputs.
    openvino=(*ONNX[:2], ('openvino', 'openvino==2026.4.1')),
    pt2=(),
    ncnn=(('pnnx', 'pnnx==20261020'), ('ncnn', 'ncnn==1.0.20261020')),
    # The one for torch 2.12; that of 1.5 fails at run time.
    executorch=(('executorch', 'executorch==1.3.1'), ),
    # The converter wants some transformers; with a newer one mmpretrain 1.2.0
    # cannot be imported.
    tflite=(('litert_torch', 'litert-torch==0.10.0'),
            ('ai_edge_litert', 'ai-edge-litert==2.3.0'),
            ('transformers', 'transformers==4.40.2')),
    coreml=(('coremltools', 'coremltools==9.0'), ))
# More for 8 bits.
FOR_INT8: dict[str, Needs] = dict(
    openvino=(('nncf', 'nncf==3.4.0'), ),
    tflite=(('ai_edge_quantizer', 'ai-edge-quantizer==0.10.0'), ))
# The torch that a format's packages were made for.
MADE_FOR: dict[str, str] = dict(executorch='torch==2.12.1')
# They can be written on any machine, and not be run here.
UNVERIFIED = ('coreml', )


def need_pinned(module: str) -> ModuleType:
    """Import a module of a package that is named here."""
    pins = {name: package
            for needs in (*NEEDS.values(), *FOR_INT8.values())
            for name, package in needs}
    return need(module, pins[module.partition('.')[0]])
