"""Sessions and predictors used by threads, copied and pickled."""
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import openvino
import pytest
import torch
from torch import nn

from mmlowformer import Predictor
from mmlowformer.errors import UserError
from mmlowformer.runtime import ExportedPredictor
from mmlowformer.runtime.sessions import ExecuTorchSession

from .folders import describe_features

SIDE = 128
SHAPE = [1, 3, SIDE, SIDE]
NCNN = """7767517
2 2
Input in0 0 1 in0
BinaryOp double 1 1 in0 out0 0=2 1=1 2=2.0
"""


class Double(nn.Module):
    def forward(self, images):
        return (images * 2, )


def write_onnx(folder):
    values = [onnx.helper.make_tensor_value_info(
        name, onnx.TensorProto.FLOAT, SHAPE) for name in ('images', 'out')]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('Add', ['images', 'images'], ['out'])],
        'double', values[:1], values[1:])
    onnx.save(onnx.helper.make_model(
        graph, ir_version=8,
        opset_imports=[onnx.helper.make_opsetid('', 18)]),
        str(folder / 'model.onnx'))
    return ['model.onnx']


def write_openvino(folder):
    write_onnx(folder)
    openvino.save_model(openvino.convert_model(str(folder / 'model.onnx')),
                        str(folder / 'model.xml'), compress_to_fp16=False)
    return ['model.xml', 'model.bin']


def write_pt2(folder):
    torch.export.save(torch.export.export(
        Double(), (torch.zeros(SHAPE), )), str(folder / 'model.pt2'))
    return ['model.pt2']


def write_ncnn(folder):
    (folder / 'model.param').write_text(NCNN)
    (folder / 'model.bin').write_bytes(b'')
    return ['model.param', 'model.bin']


def write_executorch(folder):
    exir = pytest.importorskip('executorch.exir')
    program = exir.to_edge_transform_and_lower(torch.export.export(
        Double(), (torch.zeros(SHAPE), ))).to_executorch()
    (folder / 'model.pte').write_bytes(program.buffer)
    return ['model.pte']


def write_litert(folder):
    from .test_litert import write_model
    write_model(folder / 'model.tflite', SHAPE, 'out')
    return ['model.tflite']


WRITERS = dict(onnx=write_onnx, openvino=write_openvino, pt2=write_pt2,
               ncnn=write_ncnn, executorch=write_executorch,
               tflite=write_litert)


def written(form, folder):
    files = WRITERS[form](folder)
    describe_features(folder, form, files, SHAPE, ['out'])
    return folder


@pytest.mark.parametrize('form', WRITERS)
def test_eight_threads_against_one(form, tmp_path, monkeypatch):
    # It has one pool in a process, which other tests may want otherwise.
    monkeypatch.setattr(ExecuTorchSession, '_pool_is_in_use', False)
    predictor = ExportedPredictor(written(form, tmp_path), trust=True,
                          threads=None if form == 'executorch' else 1)
    images = [np.full((SIDE, SIDE, 3), number, np.uint8)
              for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        maps = [found.maps['out'] for found in pool.map(predictor, images)]
    assert [np.unique(each).tolist() for each in maps] == [
        [2. * number] for number in range(64)]


@pytest.mark.parametrize('again', [
    copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_of_sessions(again, tmp_path):
    predictor = again(ExportedPredictor(written('onnx', tmp_path)))
    image = np.full((SIDE, SIDE, 3), 3, np.uint8)
    first, second = predictor(iter([image, image]))
    assert np.unique(first.maps['out']).tolist() == [6.]
    assert np.array_equal(first.maps['out'], second.maps['out'])


@pytest.mark.parametrize('kind', ['checkpoint', 'exported'])
def test_predictors(kind, tiny, exported, photos):
    """Threads, copies, and all that an image can be."""
    of = dict(checkpoint=tiny, exported=exported)[kind]
    predictor = Predictor(of('classification'), device='cpu')
    expected = [result.score for result in predictor(photos)]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(predictor, photos * 4)
        assert [one.score for one in found] == expected * 4
    for again in (copy.copy(predictor), copy.deepcopy(predictor),
                  pickle.loads(pickle.dumps(predictor))):
        assert [one.score for one in again(iter(photos))] == expected
    with open(photos[0], 'rb') as stream:
        content = stream.read()
        for source in (bytearray(content), memoryview(content)):
            assert predictor(source).score == expected[0]
        for wrong in (stream, None, 7, [None], [stream], [[1], [1, 2]]):
            with pytest.raises(UserError, match='has to be a path'):
                predictor(wrong)


@pytest.mark.parametrize('opened', [Predictor, ExportedPredictor])
def test_an_open_file_is_no_checkpoint(opened, tmp_path):
    (tmp_path / 'epoch_1.pth').write_bytes(b'x')
    with open(tmp_path / 'epoch_1.pth', 'rb') as stream, pytest.raises(
            UserError, match='a path is needed, not BufferedReader'):
        opened(stream)
