"""The range of 8 bits, by what the processor can sum up."""
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mmlowformer.export import quantization

# As /proc/cpuinfo names what processors can do.
PROCESSORS = dict(
    zen4='flags\t\t: fpu sse4_2 avx2 avx512f avx512bw avx512_vnni',
    alder_lake='flags\t\t: fpu sse4_2 avx2 fma avx_vnni',
    skylake='flags\t\t: fpu sse4_2 avx2 avx512f avx512bw avx512vl',
    haswell='flags\t\t: fpu sse4_2 avx2 fma',
    raspberry_pi_5='Features\t: fp asimd crc32 asimdhp asimdrdm asimddp',
    raspberry_pi_4='Features\t: fp asimd evtstrm crc32')
EXACT = {'zen4', 'alder_lake', 'raspberry_pi_5'}
SHAPE = (1, 4, 8, 8)


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Makes this machine take itself for another one."""
    def pretend(name):
        file = tmp_path / 'cpuinfo'
        if name in PROCESSORS:
            file.write_text(f'model name\t: {name}\n{PROCESSORS[name]}\n')
        monkeypatch.setattr(quantization, 'CPU_FLAGS', file)

    return pretend


@pytest.mark.parametrize('name', PROCESSORS)
def test_which_sums_are_exact(processor, name):
    processor(name)
    assert quantization.sums_are_exact() == (name in EXACT)


def test_what_is_not_known_is_not_relied_upon(processor):
    """Windows and macOS have no such file."""
    processor('one without the file')
    assert not quantization.sums_are_exact()


def write_classifier(file):
    """A convolution, the mean of each map, and a linear layer."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node('Conv', ['images', 'kernels'], ['maps'], 'conv',
                         pads=[1] * 4),
        helper.make_node('GlobalAveragePool', ['maps'], ['means'], 'pool'),
        helper.make_node('Flatten', ['means'], ['features'], 'flatten'),
        helper.make_node('Gemm', ['features', 'weights'], ['scores'], 'linear',
                         transB=1)]
    weights = dict(kernels=(6, 4, 3, 3), weights=(5, 6))
    graph = helper.make_graph(
        nodes, 'classifier',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info('scores', TensorProto.FLOAT, (1, 5))],
        [numpy_helper.from_array(random.normal(0, 1, shape).astype('f'), name)
         for name, shape in weights.items()])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid('', 18)]), str(file))


def scores_of(file, images):
    session = onnxruntime.InferenceSession(
        str(file), providers=['CPUExecutionProvider'])
    return session.run(None, dict(images=images))[0]


@pytest.mark.parametrize(('name', 'least', 'most'), [
    ('zen4', -127, 127), ('skylake', -64, 64)])
def test_range_of_weights(processor, tmp_path, name, least, most):
    """Without exact sums a bit is left free, and little of the result lost."""
    processor(name)
    file = tmp_path / 'model.onnx'
    write_classifier(file)
    images = np.random.default_rng(1).random((8, *SHAPE), np.float32)
    expected = scores_of(file, images[0])
    quantization.quantize_onnx(SimpleNamespace(
        calibration=lambda: iter(images),
        description=SimpleNamespace(input=dict(name='images'))), file)
    rounded = {item.name: numpy_helper.to_array(item) for item in
               onnx.load(str(file)).graph.initializer}
    for layer in ('kernels', 'weights'):
        values = rounded[f'{layer}_quantized']
        assert values.dtype == np.int8
        assert (values.min(), values.max()) == (least, most)
    error = np.abs(scores_of(file, images[0]) - expected).max()
    assert error < 0.05 * np.abs(expected).max()
