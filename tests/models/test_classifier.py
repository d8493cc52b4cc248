"""The classifier equals timm's, tensor by tensor and image by image."""
import math

import mmcv
import numpy as np
import pytest
import timm
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from mmlowformer import LowFormer, engine, get_config
from mmlowformer.datasets.synthetic.shapes import make_scene

from .test_lowformer import VARIANTS, randomise

# Parameters and MACs of the classifiers at 224x224, in millions.
GOLDEN = dict(
    b0=(14.10, 944), b1=(17.94, 1411), b15=(33.98, 2574), b2=(44.99, 3689),
    b3=(57.09, 6099), e1=(18.90, 1348), e2=(22.75, 3789), e3=(41.32, 4866))


def build(arch):
    init_default_scope('mmpretrain')
    return MODELS.build(get_config(f'lowformer_{arch}_in1k').model)


@pytest.fixture(scope='module', params=VARIANTS)
def pair(request):
    """timm's classifier with random weights, and ours with the same."""
    torch.manual_seed(0)
    theirs = randomise(timm.create_model(f'lowformer_{request.param}')).eval()
    ours = build(request.param)
    ours.load_state_dict(engine.fitting_state_dict(
        ours, theirs.state_dict(), 'timm', partial=False))
    return ours.eval(), theirs


def assert_close(output, target, tolerance):
    assert (output - target).abs().max() < tolerance * target.abs().max()


def test_logits_of_a_tensor(pair):
    ours, theirs = pair
    x = torch.randn(2, 3, 97, 128)
    with torch.no_grad():
        assert_close(ours(x), theirs(x), 1e-5)


def test_features_of_a_tensor(pair):
    ours, theirs = pair
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(x),
                                       pre_logits=True)
        assert_close(ours.extract_feat(x, stage='pre_logits'), expected, 1e-5)


@pytest.mark.parametrize('arch', VARIANTS)
def test_golden_numbers(arch):
    parameters, macs = GOLDEN[arch]
    with torch.device('meta'):
        model = build(arch).eval()
        assert round(sum(p.numel() for p in model.parameters()) / 1e6,
                     2) == parameters
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 224, 224))
    assert round(counter.get_total_flops() / 2e6) == macs


@pytest.mark.parametrize('shape', [(333, 480), (301, 97), (224, 224)])
def test_logits_of_an_image_file(shape, tmp_path):
    """The whole test pipeline against timm's evaluation transform."""
    file = tmp_path / 'image.jpg'
    image, _ = make_scene(np.random.default_rng(0), max(shape))
    mmcv.imwrite(image[:shape[0], :shape[1]], str(file))
    theirs = randomise(timm.create_model('lowformer_b0')).eval()
    ours = build('b0').eval()
    ours.load_state_dict(engine.fitting_state_dict(
        ours, theirs.state_dict(), 'timm', partial=False))
    pipeline = Compose(get_config('lowformer_b0_in1k').test_pipeline)
    sample = pipeline(dict(img_path=str(file)))
    data = dict(inputs=[sample['inputs']],
                data_samples=[sample['data_samples']])
    x = ours.data_preprocessor(data)['inputs']
    config = timm.data.resolve_data_config(model=theirs)
    assert config['crop_pct'] == 0.95
    transform = timm.data.create_transform(**config)
    target = transform(Image.open(file).convert('RGB'))[None]
    # Both decode, resize and crop with Pillow: what is left is rounding.
    torch.testing.assert_close(x, target, rtol=0, atol=1e-5)
    with torch.no_grad():
        assert_close(ours(x), theirs(target), 1e-5)


def test_crop_is_95_percent():
    resize = get_config('lowformer_b0_in1k').test_pipeline[1]
    assert resize.scale == math.floor(224 / 0.95)


def test_classes_have_to_be_positive():
    init_default_scope('mmpretrain')
    with pytest.raises(ValueError, match='num_classes has to be positive'):
        MODELS.build(dict(type='mmlowformer.LowFormerClsHead', num_classes=0,
                          in_channels=8))


IMPORTED_WHEN_NAMED = """
import sys
from mmengine.registry import MODELS
MODELS.get('mmlowformer.LowFormer')
print('mmpretrain' in sys.modules)
print(MODELS.get('mmlowformer.LowFormerClsHead').__name__)
"""


def test_backbone_needs_no_mmpretrain(run_forked):
    result = run_forked(IMPORTED_WHEN_NAMED)
    assert result.stdout == 'False\nLowFormerClsHead\n', result.stderr


def test_layers_have_depths():
    backbone = LowFormer('b1')
    with torch.device('meta'):
        model = build('b1')
    assert model.get_layer_depth('head.layers.classifier.weight') == (
        15, backbone.get_layer_depth('stem.0.conv.weight')[1])
    assert model.get_layer_depth('backbone.stem.0.conv.weight')[0] == 0
