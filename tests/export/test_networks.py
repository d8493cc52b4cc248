"""What is exported is the host's model, whatever the size of the image."""
import copy

import numpy as np
import pytest
import torch

from mmlowformer import LowFormer
from mmlowformer.errors import UserError
from mmlowformer.export.comparison import compare_outputs
from mmlowformer.export.job import InputShape, export_program
from mmlowformer.export.preprocessing import (
    InputRule,
    Preparation,
    default_size,
    input_rule,
)
from mmlowformer.export.verification import Reference
from mmlowformer.export.wrappers import BackboneWrapper, wrap_model
from mmlowformer.predict.trained_model import load_model

from ..helpers import ANY_BOX, untrained
from .exports import PYRAMID, TINY

SIZES = [(64, 64), (83, 125), (48, 112), (33, 40), (96, 35)]
PLAIN = InputRule((0., ) * 3, (1., ) * 3, 'RGB', 1, 0.)


def images(size, count=1):
    return list(np.random.default_rng(0).integers(
        0, 256, (count, *size, 3), np.uint8))


def as_tensor(pictures):
    rgb = np.stack(pictures)[..., ::-1].transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(rgb, np.float32))


@pytest.mark.parametrize(('task', 'options'), [
    ('detection', {}), ('detection', dict(nms=False)), ('segmentation', {}),
    ('classification', {}), ('segmentation', dict(backbone=True))])
def test_outputs_are_those_of_the_host(tiny, task, options):
    trained = load_model(tiny(task))
    network = wrap_model(trained.module, **options)
    reference = Reference(trained, network.output_names, network.task)
    for size in SIZES:
        for count in (1, 3):
            pictures = images(size, count)
            with torch.no_grad():
                outputs = network(as_tensor(pictures))
            for index, expected in enumerate(reference.outputs(pictures)):
                ours = {name: value[index].numpy() for name, value in
                        zip(network.output_names, outputs)}
                for name, error, limit in compare_outputs(
                        ours, expected, size):
                    assert error <= limit, (name, size)


@pytest.mark.parametrize('options', [
    dict(test_cfg=dict(size_divisor=32), pad_val=7),
    dict(test_cfg=dict(size_divisor=32), size_divisor=48),
    # Of training alone.
    dict(size_divisor=32), dict(size=(128, 128)), {}])
@pytest.mark.parametrize('bgr_to_rgb', [False, True])
def test_segmentors_images_are_prepared_as_by_the_host(options, bgr_to_rgb):
    from mmseg.models import SegDataPreProcessor
    from mmseg.structures import SegDataSample
    host = SegDataPreProcessor(mean=[1., 2., 3.], std=[4., 5., 6.],
                               bgr_to_rgb=bgr_to_rgb, **options)
    (picture, ) = images((83, 125))
    expected = host(dict(
        inputs=[torch.from_numpy(picture.transpose(2, 0, 1).copy())],
        data_samples=[SegDataSample()]))['inputs']
    rule = input_rule(host)
    ours = as_tensor([picture])
    if rule.channel_order == 'BGR':
        ours = ours.flip(1)
    assert torch.equal(Preparation(rule)(ours), expected)


def test_padding_to_a_size_is_refused():
    from mmseg.models import SegDataPreProcessor
    with pytest.raises(UserError, match='test_cfg.size'):
        input_rule(SegDataPreProcessor(test_cfg=dict(size=(128, 128))))


@pytest.mark.parametrize('count', [1, 3])
@pytest.mark.parametrize('arch', [
    pytest.param(TINY, id='one head'),
    pytest.param('b0', id='b0', marks=pytest.mark.slow)])
def test_five_sizes_of_one_program(arch, count):
    """Exactly; odd ones, too, from an example that is even."""
    backbone = LowFormer(arch=arch).eval()
    network = BackboneWrapper(backbone, PLAIN)
    shape = InputShape(None, (64, 96), True)
    program = export_program(network, shape).module()
    for size in SIZES:
        batch = torch.rand(count, 3, *size)
        with torch.no_grad():
            for ours, expected in zip(program(batch), backbone(batch)):
                assert torch.equal(ours, expected), size


@pytest.mark.parametrize(('nms', 'count'), [
    pytest.param(False, 1, marks=pytest.mark.slow),
    pytest.param(False, 3, marks=pytest.mark.slow), (True, 1)])
def test_five_sizes_of_five_levels(tmp_path, nms, count):
    """The last ones have a single position, or not."""
    trained = load_model(untrained(
        tmp_path, 'retinanet_lowformer_b0_coco',
        model=copy.deepcopy(dict(PYRAMID, **ANY_BOX['model']))))
    network = wrap_model(trained.module, nms=nms)
    program = export_program(network, InputShape(
        1 if nms else None, (256, 320), True)).module()
    for size in [(64, 96), (83, 125), (160, 300), (33, 40), (96, 35)]:
        batch = 255 * torch.rand(count, 3, *size)
        with torch.no_grad():
            for ours, expected in zip(program(batch), network(batch)):
                assert torch.equal(ours, expected), size


def test_the_host_stays_as_it_is(tiny):
    from mmseg.models.utils import Upsample
    module = load_model(tiny('segmentation')).module
    network = wrap_model(module)
    assert any(type(part) is Upsample for part in module.modules())
    assert not any(type(part) is Upsample for part in network.modules())


def test_deployed_networks_are_refused(tiny):
    trained = load_model(tiny('classification'), deploy=True)
    with pytest.raises(UserError, match='deployed network'):
        wrap_model(trained.module)


def test_other_detectors_are_refused(tiny):
    trained = load_model(tiny('detection'))
    trained.module.bbox_head.test_cfg.nms.type = 'soft_nms'
    with pytest.raises(UserError, match='RetinaNet'):
        wrap_model(trained.module)


def test_slide_inference_is_refused(tiny):
    trained = load_model(tiny('segmentation'))
    trained.module.test_cfg.mode = 'slide'
    with pytest.raises(UserError, match='whole images'):
        wrap_model(trained.module)


@pytest.mark.parametrize(('step', 'size'), [
    (dict(step='resize', width=1333, height=800, keep_ratio=True),
     (800, 1344)),
    (dict(step='resize', width=2048, height=512, keep_ratio=True),
     (512, 864)),
    (dict(step='resize', width=128, height=96, keep_ratio=False), (96, 128)),
    (dict(step='center_crop', width=224, height=224), (224, 224)),
    (dict(step='read'), (512, 512))])
def test_usual_size(step, size):
    assert default_size([step]) == size
