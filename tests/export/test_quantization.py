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
        monkeypatch.setattr(quantization, 'CPU_FACTS', file)

    return pretend


@pytest.mark.parametrize('name', PROCESSORS)
def test_which_sums_are_exact(processor, name):
    processor(name)
    assert quantization.sums_are_exact() == (name in EXACT)


def test_what_is_not_known_is_not_relied_upon(processor):
    """Windows and macOS have no such file."""
    processor('one without the file')
    assert not quantization.sums_are_exact()


def write_convolution(file):
    """A file with one, and its weights."""
    weights = np.random.default_rng(0).normal(0, 1, (6, 4, 3, 3))
    node = helper.make_node('Conv', ['images', 'weights'], ['maps'],
                            name='conv', pads=[1] * 4)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [
        1, channels, 8, 8]) for name, channels in (('images', 4), ('maps', 6))]
    onnx.save(helper.make_model(
        helper.make_graph([node], 'one', values[:1], values[1:], [
            numpy_helper.from_array(weights.astype(np.float32), 'weights')]),
        opset_imports=[helper.make_opsetid('', 18)], ir_version=10), str(file))


def convolve(file, images):
    session = onnxruntime.InferenceSession(
        str(file), providers=['CPUExecutionProvider'])
    return session.run(None, dict(images=images))[0]


@pytest.mark.parametrize(('name', 'least', 'most'), [
    ('zen4', -127, 127), ('skylake', -64, 64)])
def test_range_of_weights(processor, tmp_path, name, least, most):
    """Without exact sums a bit is left free, and little of the result lost."""
    processor(name)
    file = tmp_path / 'model.onnx'
    write_convolution(file)
    images = np.random.default_rng(1).random((8, *SHAPE), np.float32)
    expected = convolve(file, images[0])
    quantization.quantize_onnx(SimpleNamespace(
        calibration=lambda: iter(images),
        description=SimpleNamespace(input=dict(name='images'))), file)
    rounded, = (numpy_helper.to_array(item) for item in
                onnx.load(str(file)).graph.initializer
                if item.name == 'weights_quantized')
    assert rounded.dtype == np.int8
    assert (rounded.min(), rounded.max()) == (least, most)
    error = np.abs(convolve(file, images[0]) - expected).max()
    # Half a step of each of the 36 products would be more.
    assert error < 0.05 * np.abs(expected).max()
