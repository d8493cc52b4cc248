"""LiteRT's runtime, which is small, by a model that needs no converter."""
import json

import pytest

from ..helpers import ROOT
from .folders import describe_features

schema = pytest.importorskip('ai_edge_litert.schema_py_generated')
flatbuffers = pytest.importorskip('flatbuffers')

SIZE = (32, 48)
SHAPE = [1, 3, *SIZE]
WITHOUT_TORCH = """
import json, sys
sys.modules.update(torch=None, mmcv=None, mmengine=None)
import numpy as np
from mmlowformer.runtime import ExportedPredictor
predictor = ExportedPredictor(sys.argv[1], threads=1)
size = predictor.description.size
first = predictor(np.full((*size, 3), 7, np.uint8)).maps
predictor(np.zeros((*size, 3), np.uint8))
print(json.dumps({name: np.unique(map_).tolist()
                  for name, map_ in first.items()}))
print(predictor.session.name)
"""


def operation(index, kind, options, output):
    return schema.OperatorT(
        opcodeIndex=index, inputs=[0, 0], outputs=[output],
        builtinOptionsType=getattr(schema.BuiltinOptions, kind),
        builtinOptions=options)


def named(**indices):
    return [schema.TensorMapT(name=name.encode(), tensorIndex=index)
            for name, index in indices.items()]


def write_model(file, shape=SHAPE, double='double'):
    """From images to the double and the square of each value."""
    model = schema.ModelT(
        version=3, buffers=[schema.BufferT()],
        operatorCodes=[schema.OperatorCodeT(
            deprecatedBuiltinCode=code, builtinCode=code) for code in
            (schema.BuiltinOperator.ADD, schema.BuiltinOperator.MUL)],
        subgraphs=[schema.SubGraphT(
            inputs=[0], outputs=[1, 2], tensors=[
                schema.TensorT(shape=shape, name=name.encode())
                for name in ('a', 'b', 'c')],
            operators=[
                operation(0, 'AddOptions', schema.AddOptionsT(), 1),
                operation(1, 'MulOptions', schema.MulOptionsT(), 2)])],
        signatureDefs=[schema.SignatureDefT(
            signatureKey=b'serving_default', inputs=named(images=0),
            outputs=named(**{double: 1}, square=2))])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b'TFL3')
    file.write_bytes(builder.Output())


def test_outputs_by_name_without_torch(run_python, tmp_path):
    """In the order of the description, and of each call its own."""
    write_model(tmp_path / 'model.tflite')
    describe_features(tmp_path, 'tflite', ['model.tflite'], SHAPE,
                      ('square', 'double'))
    result = run_python('-c', WITHOUT_TORCH, tmp_path,
                        env={'PYTHONPATH': str(ROOT)})
    found, name = result.stdout.splitlines()
    assert list(json.loads(found).items()) == [
        ('square', [49]), ('double', [14])], result.stderr
    assert name.startswith('LiteRT 2.')
