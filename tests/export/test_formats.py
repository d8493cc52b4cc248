"""Formats beside ONNX, and weights of fewer bits."""
import json

import numpy as np
import onnx
import openvino
import pytest

from mmlowformer.errors import UserError
from mmlowformer.export import formats
from mmlowformer.export.config import ExportConfig
from mmlowformer.export.exporter import Exporter
from mmlowformer.export.formats import FORMATS, find_formats
from mmlowformer.export.speed import slower_note
from mmlowformer.runtime import ExportedPredictor

from ..helpers import ROOT
from .exports import make_export


def test_metadata_of_onnx(exported):
    """All that model.json says, and the usual keys."""
    folder = exported('detection')
    model = onnx.load(str(folder / 'model.onnx'))
    said = {item.key: item.value for item in model.metadata_props}
    written = json.loads((folder / 'model.json').read_text())
    own = json.loads(said['mmlowformer'])
    for key in ('task', 'classes', 'input', 'outputs', 'prepare', 'decoding'):
        assert own[key] == written[key]
    assert json.loads(said['names'])['0'] == 'circle'
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == [
        1, 3, 'height', 'width']


def test_openvino(tiny, photos, tmp_path):
    """Its outputs have names, and float32 is what is verified."""
    folder = tmp_path / 'openvino'
    _, result = make_export(tiny('classification'), folder, 'openvino',
                             images=photos)
    assert result.verdict == 'verified'
    model = openvino.Core().read_model(str(folder / 'model.xml'))
    assert model.outputs[0].get_any_name() == 'scores'
    info = model.get_rt_info(['mmlowformer', 'description']).astype(str)
    assert json.loads(info)['classes'] == [
        'circle', 'square', 'star', 'triangle']
    assert 'f32' in ExportedPredictor(folder).session.name


@pytest.mark.slow
def test_ncnn_takes_all_sizes(tiny, photos, tmp_path, run_python):
    """As pnnx sees two of them; one image at a time, the maps of the head.

    In a process of its own, as ncnn brings an OpenMP of its own: after others
    have been at work it crashes.
    """
    result = run_python(
        ROOT / 'tools/export.py', tiny('detection'), '--format', 'ncnn',
        '--no-metric', '--out', 'out', '--verify', *photos)
    assert result.returncode == 0, result.stdout + result.stderr
    description = json.loads((tmp_path / 'out/ncnn/model.json').read_text())
    assert description['verification']['verdict'] == 'verified'
    where = {row['where'] for row in description['verification']['rows']}
    assert len([size for size in where if size.startswith('1 x ')]) >= 3
    assert '4 images' in where
    assert description['padding']['by'] == 'runtime'


@pytest.mark.slow
@pytest.mark.parametrize('form', ['onnx', 'pt2'])
def test_a_fixed_size(tiny, photos, tmp_path, form):
    """Images are made to fit."""
    folder = tmp_path / form
    _, result = make_export(tiny('segmentation'), folder, form,
                             images=photos, size=(64, 96))
    assert result.verdict == 'verified', result
    predictor = ExportedPredictor(folder, trust=True)  # pt2 asks for it
    assert predictor.description.size == (64, 96)
    assert predictor(np.zeros((50, 20, 3), np.uint8)).mask.shape == (50, 20)


@pytest.mark.slow
@pytest.mark.parametrize(('form', 'bits'), [
    ('onnx', 8), ('onnx', 16), ('openvino', 8)])
def test_fewer_bits(tiny, photos, shapes, tmp_path, monkeypatch, form, bits):
    """They are judged by the metric; without one nothing is promised."""
    folder = tmp_path / 'rounded'
    _, result = make_export(tiny('classification'), folder, form, bits=bits,
                             images=photos, calibration=photos)
    assert result.verdict == 'converted, not verified'
    assert result.reason == 'no metric: --no-metric'
    assert {item['weights'] for item in result.speed} == {
        '', 'float32', {8: 'int8', 16: 'float16'}[bits]}
    assert all(row.limit is None for row in result.rows
               if row.check != 'prepared images')
    assert ExportedPredictor(folder)(photos[0]).scores.sum() == pytest.approx(
        1, abs=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize('bits', [8, 16])
def test_fewer_bits_of_a_detector(tiny, photos, tmp_path, bits):
    """It is written twice: its time is compared with that of 32 bits."""
    _, result = make_export(tiny('detection'), tmp_path / 'onnx', bits=bits,
                             images=photos, calibration=photos)
    assert {item['weights'] for item in result.speed} == {
        '', 'float32', {8: 'int8', 16: 'float16'}[bits]}


@pytest.mark.slow
def test_a_metric_that_falls(tiny, photos, tmp_path, monkeypatch):
    exporter = Exporter(str(tiny('classification')), None, ExportConfig(
        [FORMATS['onnx']], bits=8, images=photos, calibration=photos))
    exporter.example = (64, 64)
    exporter.metric.reason = ''
    values = iter((80., 79.))
    monkeypatch.setattr(exporter, '_compute', lambda *_: {
        'accuracy/top1': next(values)})
    result = exporter.export(FORMATS['onnx'], tmp_path / 'onnx')
    assert result.verdict == 'failed'
    assert result.reason.startswith(
        'accuracy/top1 falls by 0.0100, allowed is 0.005. ')
    assert '--max-metric-drop' in result.reason
    assert (tmp_path / 'onnx/model.onnx.unverified').is_file()


@pytest.mark.slow
def test_no_images_to_calibrate_with(tiny, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='--calibration'):
        make_export(tiny('classification'), tmp_path / 'onnx', bits=8,
                    images=photos)
    assert not (tmp_path / 'onnx').exists()


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(formats.importlib.util, 'find_spec',
                        lambda name: None)
    with pytest.raises(UserError, match='pip install pnnx==.* ncnn=='):
        formats.check_format(FORMATS['ncnn'], 32,
                             dynamic=False, nms=False)


def test_each_format_once():
    assert [item.name for item in find_formats('pt2, onnx,PT2')] == [
        'pt2', 'onnx']


def test_rounding_that_gains_nothing_is_said():
    """Beside the fastest way without it, which may compute in bfloat16."""
    timed = [dict(name=name, weights=weights, milliseconds=milliseconds)
             for name, weights, milliseconds in (
                 ('torch, eager', '', 2.), ('CPU, f32', 'int8', 5.),
                 ('CPU, f32', 'float32', 9.), ('CPU, bf16', 'float32', 4.))]
    assert slower_note(timed) == (
        'int8 is no faster on this machine than CPU, bf16 with float32 '
        'weights (4.0 ms)')
    timed[1]['milliseconds'] = 3.
    assert not slower_note(timed)
    assert not slower_note(timed[2:])
