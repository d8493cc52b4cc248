"""What exports have to reach, of all variants and tasks."""
import json

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch.nn.modules.batchnorm import _BatchNorm

from mmlowformer import LowFormer, get_config
from mmlowformer.datasets.synthetic.shapes import make_dataset
from mmlowformer.export.formats import FORMATS, write_float32_onnx
from mmlowformer.export.job import ExportJob, InputShape
from mmlowformer.export.wrappers import wrap_model
from mmlowformer.runtime.model_spec import Description
from mmlowformer.utils.tensors import relative_error

from ..helpers import ROOT, untrained
from .exports import make_export
from .test_edge import EXECUTORCH, LITERT

pytestmark = pytest.mark.slow

SMALL = [(1, 64, 96), (3, 64, 96), (1, 333, 500), (1, 512, 512)]
ALL = [*SMALL, (3, 333, 500), (1, 800, 1333)]
SIZES = dict.fromkeys(LowFormer.arch_settings, SMALL) | dict(b0=ALL, b1=ALL)
# By what is exported: a config, and how.
NETWORKS = dict(
    backbone=('retinanet_lowformer_{}_coco', dict(backbone=True)),
    classifier=('lowformer_{}_in1k', {}),
    detector=('retinanet_lowformer_{}_coco', dict(nms=False)),
    segmentor=('fpn_lowformer_{}_ade20k', {}))


def limit(*size):
    return 5e-6 if max(size) <= 512 else 2e-5


def network(kind, arch):
    """With statistics that are not those of an untrained network."""
    name, options = NETWORKS[kind]
    cfg = get_config(name.format(arch))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model).eval()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return wrap_model(model, **options)


def source_of(network, form, shape):
    outputs = [dict(name=name, shape=[]) for name in network.output_names]
    return ExportJob(network, shape, Description(
        task='features', model='', format=form, files=[],
        precision='float32', classes=[], palette=[], input=dict(
            name='images', channel_order='RGB',
            shape=shape.described), padding={}, prepare=[], outputs=outputs))


@pytest.mark.parametrize('arch', SIZES)
@pytest.mark.parametrize('kind', NETWORKS)
def test_onnx_and_openvino(kind, arch, tmp_path):
    exported = network(kind, arch)
    file = tmp_path / 'model.onnx'
    write_float32_onnx(source_of(exported, 'onnx', InputShape(
        None, (256, 320), True)), file)
    session = onnxruntime.InferenceSession(
        str(file), providers=['CPUExecutionProvider'])
    compiled = openvino.Core().compile_model(
        openvino.convert_model(str(file)), 'CPU',
        {'INFERENCE_PRECISION_HINT': 'f32'})
    exact = exported.double()
    for batch, height, width in SIZES[arch]:
        images = 255 * torch.rand(batch, 3, height, width)
        # Rounding of torch's own in float32 would count, too.
        with torch.no_grad():
            expected = [map_.numpy() for map_ in exact(images.double())]
        found = compiled(images.numpy())
        for outputs in (session.run(None, dict(images=images.numpy())),
                        [found[i] for i in range(len(expected))]):
            for ours, theirs in zip(outputs, expected, strict=True):
                assert relative_error(ours, theirs) <= limit(height, width)


@pytest.mark.parametrize('form', [
    'ncnn', pytest.param('executorch', marks=EXECUTORCH),
    pytest.param('tflite', marks=LITERT)])
@pytest.mark.parametrize('arch', ['b0', 'b1'])
def test_edge(form, arch, tmp_path, run_python):
    """In a process of its own: see test_ncnn_takes_all_sizes."""
    checkpoint = untrained(tmp_path, 'lowformer_b0_shapes',
                           model=dict(backbone=dict(arch=arch)))
    size = [] if FORMATS[form].dynamic else ['--size', '64x96']
    result = run_python(
        ROOT / 'tools/export.py', checkpoint, '--format', form, '--backbone',
        '--no-metric', '--out', 'out', *size)
    assert result.returncode == 0, result.stdout + result.stderr
    description = json.loads((tmp_path / 'out' / form / 'model.json'
                              ).read_text())
    assert description['verification']['verdict'] == 'verified'
    errors = [row['error'] for row in description['verification']['rows']
              if row['check'].startswith('stride_')]
    assert errors
    assert max(errors) <= 1e-5


def test_boxes_of_64_images(tiny, tmp_path):
    """The same in number and label, and 0.001 pixels apart at most."""
    make_dataset(tmp_path / 'data', train=1, val=64, size=96)
    images = sorted(map(str, (tmp_path / 'data/coco/val2017').iterdir()))
    _, result = make_export(tiny('detection'), tmp_path / 'onnx',
                             images=images)
    assert result.verdict == 'verified', result
    found = {row.check: row for row in result.rows
             if row.where == '64 images'}
    assert found['labels'].error == 0
    assert found['boxes'].error <= 1e-3


@pytest.mark.parametrize('name', [
    'retinanet_lowformer_b0_coco', 'retinanet_lowformer_b0_shapes',
    'fpn_lowformer_b0_shapes', 'lowformer_b0_shapes'])
def test_named_configs_are_verified(name, photos, tmp_path):
    checkpoint = untrained(tmp_path, name)
    _, result = make_export(checkpoint, tmp_path / 'onnx', images=photos)
    assert result.verdict == 'verified', result
    assert np.isfinite([row.error for row in result.rows]).all()
