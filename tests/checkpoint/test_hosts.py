"""Weights in models of the host libraries, however these load them."""
import pytest
import timm
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from mmpretrain import (
    ImageClassificationInferencer,
    ModelHub,
    get_model,
    list_models,
)
from safetensors.torch import save_file
from torch import nn

from mmlowformer import LowFormer, engine, get_config
from mmlowformer.engine import UserError

from ..helpers import ROOT
from ..models.test_lowformer import SMALL, images, randomise
from .test_key_formats import authors_name

CLASSIFIER = 'lowformer_b0_in1k'


@pytest.fixture(scope='module')
def published():
    torch.manual_seed(0)
    return randomise(timm.create_model('lowformer_b0')).eval()


@pytest.fixture(scope='module')
def files(published, tmp_path_factory):
    """One in each key format."""
    folder = tmp_path_factory.mktemp('published')
    state = published.state_dict()
    save_file(state, folder / 'model.safetensors')
    torch.save(state, folder / 'timm.pth')
    torch.save(dict(state_dict={authors_name(name, 'b0'): value for name, value
                                in state.items()}), folder / 'authors.pt')
    return folder


@pytest.fixture(scope='module', autouse=True)
def _known_models():
    with pytest.MonkeyPatch.context() as patch:
        # MMPreTrain registers its own once in a process: not into this one.
        list_models()
        patch.setattr(ModelHub, '_models_dict', {})
        ModelHub.register_model_index(ROOT / 'model-index.yml',
                                      config_prefix=ROOT)
        yield


def assert_same_logits(model, published):
    x = images(64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), published(x), rtol=1e-4,
                                   atol=1e-4)


@pytest.mark.parametrize('name', ['timm.pth', 'authors.pt',
                                  'model.safetensors'])
def test_get_model_from_a_file(files, published, name):
    model = get_model(CLASSIFIER, pretrained=str(files / name))
    assert_same_logits(model, published)


def test_get_model_from_the_hub(files, published, hub):
    hub.publish('b0', (files / 'model.safetensors').read_bytes())
    assert_same_logits(get_model(CLASSIFIER, pretrained=True), published)


def test_inferencer(files, published):
    inferencer = ImageClassificationInferencer(
        CLASSIFIER, pretrained=str(files / 'timm.pth'))
    assert_same_logits(inferencer.model, published)


def test_classifier_keeps_its_own_layout(files, published, tmp_path):
    model = get_model(CLASSIFIER, pretrained=str(files / 'timm.pth'))
    file = str(tmp_path / 'own.pth')
    torch.save(dict(state_dict=model.state_dict()), file)
    again = get_model(CLASSIFIER)
    again.load_state_dict(model.state_dict())
    assert_same_logits(again, published)
    assert_same_logits(get_model(CLASSIFIER, pretrained=file), published)


def test_prefix_in_a_published_layout(published):
    """As in a detector of timm's network, or inside of a wrapper."""
    state = {f'part.{name}': value
             for name, value in published.state_dict().items()}
    model = nn.ModuleDict(dict(part=LowFormer('b0')))
    load = model.load_state_dict(state, strict=False)
    assert not load.missing_keys
    assert torch.equal(model['part'].stem[0].conv.weight,
                       published.stem[0].conv.weight)
    del state['part.stem.0.conv.weight']
    with pytest.raises(ValueError, match='251/252 tensors'):
        model.load_state_dict(state, strict=False)


@pytest.fixture(scope='module')
def detector():
    init_default_scope('mmdet')
    return MODELS.build(get_config('retinanet_lowformer_b0_coco').model)


@pytest.mark.parametrize('name', ['timm.pth', 'model.safetensors'])
def test_detector_does_not_stay_random(files, detector, name):
    with pytest.raises(ValueError, match='nothing for the LowFormer at backb'):
        load_checkpoint(detector, str(files / name))


def test_detector_takes_what_is_called_backbone(files, detector, published):
    load_checkpoint(detector, str(files / 'authors.pt'))
    assert torch.equal(detector.backbone.stem[0].conv.weight,
                       published.stem[0].conv.weight)


def test_own_parts_are_loaded_as_ever():
    """What is missing is reported by whoever loads."""
    model = nn.ModuleDict(dict(backbone=LowFormer(SMALL)))
    state = model.state_dict()
    del state['backbone.stem.0.conv.weight']
    assert model.load_state_dict(state, strict=False).missing_keys == [
        'backbone.stem.0.conv.weight']


def test_nothing_of_the_backbone():
    model = nn.ModuleDict(dict(backbone=LowFormer(SMALL),
                               head=nn.Linear(2, 2)))
    content = {name: value for name, value in model.state_dict().items()
               if name.startswith('head.')}
    with pytest.raises(UserError, match='a.pth: .*LowFormer at backbone'):
        engine.fitting_state_dict(model, content, 'a.pth', partial=True)


@pytest.mark.parametrize(('spoil', 'message'), [
    (lambda value: value.to_sparse(), 'is sparse_coo'),
    (lambda value: value.to('meta'), 'has no values'),
    (lambda value: value.to(torch.complex64), 'is torch.complex64'),
    (lambda value: value.to(torch.int8), 'is torch.int8'),
    (lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
     'torch.qint8'),
    (lambda value: value.to(torch.float8_e4m3fn), 'is torch.float8_e4m3fn'),
    (lambda value: value.to(torch.float8_e5m2), 'is torch.float8_e5m2'),
    (lambda value: torch.nested.nested_tensor([value[0], value[1]]),
     'is a nested tensor'),
    (lambda value: value[:1], r'not \(')])
def test_tensors_that_cannot_be_copied(spoil, message):
    model = LowFormer(SMALL)
    state = model.state_dict()
    state['stem.0.conv.weight'] = spoil(state['stem.0.conv.weight'])
    with pytest.raises(UserError, match=f'stem.0.conv.weight.*{message}'):
        engine.fitting_state_dict(model, state, 'a.pth', partial=False)
