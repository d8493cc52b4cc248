"""What a user may type for a model."""
import pytest
import torch

from mmlowformer import LowFormer, get_config_path
from mmlowformer.benchmark.models import find_models, kind_of, model_info
from mmlowformer.engine import UserError
from mmlowformer.models.ablations import ABLATIONS


def names(*patterns):
    return [spec.name for spec in find_models(list(patterns))]


def test_all_variants():
    assert names('lowformer_*') == [
        f'lowformer_{arch}' for arch in LowFormer.arch_settings]


def test_ablations():
    """They are no variants, so ``lowformer_*`` are not these."""
    assert names('lowformer_b1_*') == [
        f'lowformer_{arch}' for arch in ABLATIONS]
    spec, = find_models(['lowformer_b1_unfused'])
    with torch.device('meta'):
        facts = model_info(spec.build().eval(), (224, 224))
    assert (facts.parameters, facts.macs) == (7_941_424, 693_846_272)


def test_each_once():
    assert names('lowformer_b1', 'lowformer_b[01]') == [
        'lowformer_b1', 'lowformer_b0']


def test_options_of_its_own():
    spec, = find_models(['lowformer_b1@deploy,compile'])
    assert spec.name == 'lowformer_b1@deploy,compile'
    assert spec.options == 'deploy,compile'


@pytest.mark.parametrize(('pattern', 'kind', 'strides'), [
    ('lowformer_e1', 'feature pyramid', [4, 8, 16, 32]),
    ('timm:resnet18', 'feature pyramid', [2, 4, 8, 16, 32]),
    ('timm:vit_tiny_patch16_224', 'feature pyramid', None),
    ('mmpretrain:resnet18_8xb32_in1k', 'outputs of its config', [32]),
    (get_config_path('retinanet_lowformer_b0_coco'), 'outputs of its config',
     [4, 8, 16, 32]),
    ('torch.nn:Identity', 'as it is', None),
])
def test_kinds(pattern, kind, strides):
    spec, = find_models([pattern])
    model = spec.build()
    assert kind_of(spec, model) == kind
    if strides:
        model.eval()
        facts = model_info(model, (64, 96))
        assert facts.strides == strides
        assert facts.macs > 0


def test_built_for_a_size():
    """This one refuses other sizes, and has its channels last."""
    spec, = find_models(['timm:swin_tiny_patch4_window7_224'],
                        shape=(64, 96))
    facts = model_info(spec.build().eval(), (64, 96))
    assert facts.channels == [96, 192, 384, 768]
    assert facts.strides == [4, 8, 16, 32]


def test_whole_model_of_a_config():
    spec, = find_models([get_config_path('fpn_lowformer_b0_shapes')],
                        full_model=True)
    with torch.device('meta'):
        facts = model_info(spec.build().eval(), (64, 64))
    assert facts.channels == [5]


@pytest.mark.parametrize(('pattern', 'message'), [
    ('lowformer_b4', 'Did you mean lowformer_b3'),
    ('timm:resnet19', 'timm has no model .* Did you mean .*resnet1'),
    ('mmpretrain:resnet18_8xb32', 'Did you mean .*resnet18_8xb'),
    ('nowhere.py', 'config not found: nowhere.py'),
    ('torch.nn:NoSuchLayer', 'torch.nn:NoSuchLayer cannot be imported'),
])
def test_unknown(pattern, message):
    with pytest.raises(UserError, match=message):
        find_models([pattern])
