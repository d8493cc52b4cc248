"""``--weights``: what a training starts from."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from safetensors.torch import save

from mmlowformer import LowFormer, engine, get_config
from mmlowformer.config.loading import dicts_in, kind_of
from mmlowformer.engine import UserError

from ..hub import fill_cache

HUB = 'hf-hub:timm/lowformer_b1.in1k'
# Where a LowFormer may be.
PLACES = dict(
    detector=lambda part: dict(type='RetinaNet', backbone=part),
    tracker=lambda part: dict(type='ByteTrack', detector=dict(backbone=part)),
    semi=lambda part: dict(type='SoftTeacher', detector=dict(
        type='FasterRCNN', backbone=part)),
    distilled=lambda part: dict(type='X', teacher=dict(backbone=part),
                                backbone=dict(type='ResNet')),
    listed=lambda part: dict(type='X', image_encoder=[part, dict(type='P')]),
    alone=lambda part: part)


def backbone_of(model):
    found, = [part for _, part in dicts_in(model)
              if kind_of(part) == 'LowFormer']
    return found


def with_weights(weights, arch='b1', place='detector', **more):
    part = dict(type='mmlowformer.LowFormer', arch=arch)
    cfg = Config(dict(model=PLACES[place](part),
                      train_cfg=dict(max_epochs=12)) | more)
    engine.set_weights(cfg, weights)
    return cfg


@pytest.mark.parametrize('place', PLACES)
def test_published_and_none_wherever_it_is(place):
    cfg = with_weights('published', place=place)
    assert backbone_of(cfg.model).init_cfg == dict(
        type='Pretrained', checkpoint=HUB)
    engine.set_weights(cfg, 'none')
    assert backbone_of(cfg.model).init_cfg is None


@pytest.mark.parametrize('form', ['published', 'hub', 'file', 'url'])
def test_forms_that_are_fetched(hub, tmp_path, monkeypatch, form):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    content = save(LowFormer('b1').state_dict())
    hub.publish('b1', content)
    file = tmp_path / 'b1.safetensors'
    file.write_bytes(content)
    cfg = with_weights(dict(
        published='published', hub=HUB, file=str(file),
        url=f'{hub.url}/{HUB.removeprefix("hf-hub:")}/resolve/main/'
            'model.safetensors')[form])
    engine.fetch_weights(cfg)
    engine.check_pretrained(cfg.model)
    assert len(hub.downloads()) >= (form != 'file')
    # The config in the work dir keeps a name that works elsewhere.
    if form in ('published', 'hub'):
        assert cfg.model.backbone.init_cfg.checkpoint == HUB


@pytest.mark.parametrize(('weights', 'arch', 'message'), [
    ('publisched', 'b1', 'publisched: no such file. Name published, none'),
    ('.', 'b1', 'no such file'),
    ('published', 'b2', "no weights of arch='b2' were published. Train them "
     'with lowformer_b2_in1k, then add --weights work_dirs/lowformer_b2_in1k/'
     'epoch_320.pth, or --weights none'),
    ('published', dict(variant='b1'), 'Name a file of your own, or'),
])
def test_words_that_name_nothing(weights, arch, message):
    with pytest.raises(UserError, match=message):
        with_weights(weights, arch)


@pytest.mark.parametrize(('more', 'message'), [
    (dict(load_from='a.pth'), 'load_from=a.pth would replace them'),
    (dict(model=dict(type='RetinaNet', backbone=dict(type='ResNet'))),
     'the model has no LowFormer. .* load_from=FILE'),
    (dict(model=dict(
        init_cfg=dict(type='Pretrained', checkpoint='a.pth'),
        backbone=dict(type='mmlowformer.LowFormer'))),
     '--cfg-options model.init_cfg=None')])
def test_other_weights_in_the_config(more, message):
    with pytest.raises(UserError, match=message):
        with_weights('published', **more)


def test_older_ways_are_replaced():
    """MMSegmentation's base configs and older backbones name weights so."""
    cfg = Config(dict(model=dict(
        pretrained='open-mmlab://resnet50_v1c',
        backbone=dict(type='mmlowformer.LowFormer', pretrained='a.pth'))))
    engine.set_weights(cfg, 'none')
    assert cfg.model == dict(pretrained=None, backbone=dict(
        type='mmlowformer.LowFormer', init_cfg=None))


def test_of_another_variant(tmp_path):
    """As after ``--cfg-options model.backbone.arch=e1``."""
    fill_cache('b0')
    cfg = with_weights('hf-hub:timm/lowformer_b0.in1k', arch='e1')
    with pytest.raises(UserError, match='The file is b0.*--weights published '
                       'takes hf-hub:timm/lowformer_e1.in1k'):
        engine.check_pretrained(cfg.model)


def test_offline_names_the_ways_on():
    cfg = get_config('fpn_lowformer_b3_ade20k')
    with pytest.raises(UserError) as error:
        engine.fetch_weights(cfg)
    text = str(error.value)
    assert '\n' not in text
    for part in (
            'https://huggingface.co/timm/lowformer_b3.in1k/resolve/main/'
            'model.safetensors by hand', '--weights FILE', '--weights none',
            'expect far less in 40000 iterations'):
        assert part in text
    # A checkpoint that is resumed has all weights.
    cfg.resume = True
    engine.fetch_weights(cfg)


def test_a_classifier_of_b2_starts_a_detector(tmp_path):
    """What ``lowformer_b2_in1k`` leaves, for configs of other tasks."""
    init_default_scope('mmpretrain')
    classifier = MODELS.build(get_config('lowformer_b2_in1k').model)
    file = tmp_path / 'epoch_320.pth'
    torch.save(dict(state_dict=classifier.state_dict(), meta={}), file)
    cfg = get_config('retinanet_lowformer_b2_coco')
    engine.set_weights(cfg, str(file))
    engine.fetch_weights(cfg)
    engine.check_pretrained(cfg.model)
    backbone = MODELS.build(cfg.model.backbone)
    backbone.init_weights()
    expected = classifier.backbone.state_dict()
    assert backbone.state_dict().keys() == expected.keys()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, expected[name]), name
