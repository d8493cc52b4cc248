"""All that docs/drop_in.md says about the libraries' configs is run."""
import json
import re
import traceback
from pathlib import Path

import mmdet
import mmseg
import numpy as np
import pytest
import timm
import torch
from mmdet.testing import demo_mm_inputs, demo_track_inputs
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import nn

from mmlowformer import LowFormer
from mmlowformer.engine import check_settings

from .drop_in import (
    OF_VIDEOS,
    PAGE,
    SIZES,
    SNIPPETS,
    TOP,
    base_named,
    items,
    named,
    user_config,
)

# Other tests run the same lines of mmlowformer, and measuring takes long.
pytestmark = pytest.mark.no_cover
CONFIGS = Path(mmdet.__path__[0], '.mim', 'configs')


def build(cfg):
    """Model and optimizer, as Runner builds them on a CPU."""
    init_default_scope(cfg.default_scope)
    if 'data_preprocessor' in cfg:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model = revert_sync_batchnorm(model)
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def inputs_for(cfg, images=2, training=True):
    size = SIZES[cfg.default_scope]
    if cfg.default_scope == 'mmdet':
        data = demo_mm_inputs(
            1, (3, size, size), num_items=[2], num_classes=80,
            with_mask='loss_mask' in str(cfg.model))
        return (branches(data) if training and cfg.model.type == 'SoftTeacher'
                else data)
    pictures = torch.randint(0, 256, (images, 3, size, size)).byte()
    if cfg.default_scope == 'mmpretrain':
        return dict(inputs=[pictures, pictures.flip(-1)],
                    data_samples=[DataSample() for _ in pictures])
    classes = min(value for name, value in items(cfg.model).items()
                  if name.endswith('.num_classes'))
    labels = torch.randint(0, classes, (images, 1, size, size))
    shape = dict(img_shape=(size, size), ori_shape=(size, size))
    return dict(
        inputs=[*pictures],
        data_samples=[
            SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=shape)
            for label in labels])


def branches(data):
    """An image with boxes, and two views of one without."""
    for sample in data['data_samples']:
        sample.set_metainfo(dict(
            homography_matrix=np.eye(3, dtype=np.float32)))
    names = ('sup', 'unsup_teacher', 'unsup_student')
    return {key: dict.fromkeys(names, value) for key, value in data.items()}


def settings_of(optim_wrapper, parameters, key):
    """Values of a setting that an optimizer has for parameters."""
    wanted = {id(parameter) for parameter in parameters}
    return {group[key] for group in optim_wrapper.optimizer.param_groups
            if id(group['params'][0]) in wanted}


def norm_parameters(model):
    return [parameter for module in model.modules()
            if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm))
            for parameter in module.parameters()]


@named(SNIPPETS)
def test_snippet_trains_and_predicts(base, tmp_path):
    assert len(SNIPPETS[base].splitlines()) <= 13
    cfg = user_config(tmp_path, base)
    model = trained(cfg, inputs_for(cfg))
    if cfg.default_scope == 'mmpretrain':
        return  # Self-supervised models predict nothing.
    with torch.no_grad():
        result = model.test_step(inputs_for(cfg, training=False))[0]
    if cfg.default_scope == 'mmseg':
        assert result.pred_sem_seg.shape == (SIZES['mmseg'], ) * 2
    else:
        assert result.pred_instances.bboxes.shape[1] == 4
        assert result.pred_instances.scores.isfinite().all()


@pytest.mark.slow
@named([('mmdet', str(file.relative_to(CONFIGS))) for file in
        sorted(CONFIGS.glob('*/*_r50_fpn_1x_coco.py'))
        if 'libra' not in file.name])
def test_other_configs_with_a_pyramid(base, tmp_path, monkeypatch):
    monkeypatch.setitem(SNIPPETS, base, TOP)
    cfg = user_config(tmp_path, base)
    check_settings(cfg)
    model, _ = build(cfg)
    with torch.no_grad():
        first, second, *_ = model.extract_feat(torch.zeros(1, 3, 64, 64))
    stride = 4 * 2**cfg.model.neck.get('start_level', 0)
    assert first.shape[2] * stride == second.shape[2] * 2 * stride == 64


def frames_for(cfg, training):
    """Two frames of a video; ByteTrack's detector learns from single ones."""
    if training and cfg.model.type == 'ByteTrack':
        data = demo_mm_inputs(2, [(3, 64, 64)] * 2, num_items=[2, 2])
        for sample in data['data_samples']:
            sample.gt_instances.labels.zero_()
        return data
    return demo_track_inputs(
        1, 2, key_frames_inds=[0] if training else None,
        image_shapes=(3, 64, 64), num_items=[2], num_classes=1,
        with_mask=cfg.model.type in ('MaskTrackRCNN', 'Mask2FormerVideo'))


@named([pytest.param(base, marks=pytest.mark.slow, id=base[1])
        if '2021' in base[1] else base for base in OF_VIDEOS])
def test_snippet_of_videos_trains_and_predicts(base, tmp_path):
    cfg = user_config(tmp_path, base)
    model = trained(cfg, frames_for(cfg, True))
    with torch.no_grad():
        result, = model.test_step(frames_for(cfg, False))
    assert len(result) == 2
    for frame in result:
        assert frame.pred_track_instances.bboxes.shape[1] == 4


def trained(cfg, data):
    """The model of a config after a step that changes all of the backbone."""
    # Nothing of another backbone would be downloaded.
    assert not [path for path, value in items(cfg.model).items()
                if '://' in str(value)]
    model, optim_wrapper = build(cfg)
    check_normalization(cfg.model.data_preprocessor)
    check_optimizer(cfg, backbone_of(model), optim_wrapper)
    assert isinstance(backbone_of(model), LowFormer)
    before = {name: parameter.detach().clone() for name, parameter in
              backbone_of(model).named_parameters()}
    # Runner says it; YOLOX resizes every tenth batch.
    MessageHub.get_current_instance().update_info('iter', 0)
    losses = model.train_step(data, optim_wrapper)
    assert losses['loss'].isfinite()
    assert [name for name, parameter in backbone_of(model).named_parameters()
            if parameter.equal(before[name])] == []
    return model.eval()


def backbone_of(model):
    for part in ('detector', 'student'):
        model = getattr(model, part, model)
    return model.backbone


def check_normalization(preprocessor):
    """As the published weights want it."""
    published = timm.models.get_pretrained_cfg('lowformer_b1')
    preprocessor = preprocessor.get('data_preprocessor', preprocessor)
    assert preprocessor.get('bgr_to_rgb', preprocessor.get('to_rgb'))
    assert torch.tensor(preprocessor.mean).allclose(
        255 * torch.tensor(published.mean))
    assert torch.tensor(preprocessor.std).allclose(
        255 * torch.tensor(published.std))


def check_optimizer(cfg, backbone, optim_wrapper):
    settings = cfg.optim_wrapper
    assert settings.optimizer.type == 'AdamW'
    schedulers = cfg.param_scheduler
    assert all(scheduler.get('eta_min', 0) < settings.optimizer.lr
               for scheduler in (schedulers if isinstance(schedulers, list)
                                 else [schedulers]))
    custom = 'backbone' in settings.paramwise_cfg.get('custom_keys', {})
    assert settings_of(optim_wrapper, norm_parameters(backbone),
                       'weight_decay') == {
        settings.optimizer.weight_decay if custom else 0.}


@pytest.mark.parametrize('family', ['deeplabv3', 'deeplabv3plus', 'pspnet'])
def test_dilated_head_at_stride_32(family, tmp_path):
    base = base_named(f'mmseg/{family}')
    channels, first, dilations = re.search(
        r'set only `(in_channels=256)` \(and\s`(c1_in_channels=32)`\).*?'
        r'`(dilations=.*?)`', PAGE, re.S).groups()
    inputs = [channels] if family == 'pspnet' else [channels, dilations]
    inputs += [first] if family == 'deeplabv3plus' else []
    old = re.search(r'decode_head=dict\((.*?)\),\n    aux', SNIPPETS[base],
                    re.S).group(1)
    cfg = user_config(tmp_path, base, old, ', '.join(inputs))
    assert cfg.model.decode_head.in_index == 3
    if 'dilations' in cfg.model.decode_head:
        assert cfg.model.decode_head.dilations == (1, 3, 6, 9)
    trained(cfg, inputs_for(cfg))


@pytest.mark.slow
@pytest.mark.parametrize('family', re.findall('`(.+?)`', re.search(
    r'lines fit the configs of ((?:`\w+`[\sand,]*)+)', PAGE).group(1)))
def test_other_dilated_heads(family, tmp_path, monkeypatch):
    root = Path(mmseg.__path__[0], '.mim', 'configs')
    file, = root.glob(f'{family}/*_r50-d8_4xb4-80k_ade20k-512x512.py')
    base = ('mmseg', str(file.relative_to(root)))
    lines = SNIPPETS[base_named('mmseg/pspnet')]
    monkeypatch.setitem(SNIPPETS, base, lines)
    cfg = user_config(tmp_path, base)
    trained(cfg, inputs_for(cfg))


def test_ocrnet_on_a_single_output(tmp_path):
    base = base_named('mmseg/ocrnet')
    inputs = re.search(r'`(inputs = .*?)`', PAGE).group(1)
    snippet = SNIPPETS[base].replace("arch='b1'",
                                     "arch='b1', out_indices=(3,)")
    old = re.match(r'inputs = .*?\)\n', snippet, re.S).group()
    new = snippet.replace(old, f'{inputs}\n')
    cfg = user_config(tmp_path, base, SNIPPETS[base], new)
    trained(cfg, inputs_for(cfg))


def test_backbone_of_a_detr_from_random_weights(tmp_path):
    line = re.search(r'^`(optim_wrapper = .*custom_keys.*)`', PAGE, re.M)
    cfg = user_config(tmp_path, base_named('mmdet/detr'))
    model = nn.Module()
    model.backbone = LowFormer('b0')
    for rate in (1e-5, 1e-4):
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        assert settings_of(optim_wrapper, model.parameters(), 'lr') == {rate}
        cfg.merge_from_dict(Config.fromstring(line.group(1), '.py').to_dict())


def test_weights_of_the_backbone(tmp_path):
    file = tmp_path / 'weights.pth'
    trained = LowFormer('b1').state_dict()
    torch.save(trained, file)
    init_cfg = re.search(r"`(init_cfg=dict\(type='Pretrained', .*\))`", PAGE)
    line = re.sub(r'hf-hub:[\w./]+', str(file), init_cfg.group(1))
    model, _ = build(user_config(tmp_path, base_named('mmseg/segformer'),
                                 "arch='b1'", f"arch='b1', {line}"))
    for name, value in model.backbone.state_dict().items():
        assert value.equal(trained[name]), name


@pytest.mark.parametrize('library', ['mmdet', 'mmseg'])
def test_mask2former_of_other_classes(library, tmp_path):
    cfg = user_config(tmp_path, base_named(f'{library}/mask2former'))
    weights = re.search(r'`loss_cls\.class_weight=(.*?)`', PAGE).group(1)
    head = cfg.model['panoptic_head' if library == 'mmdet' else 'decode_head']
    cfg.merge_from_dict({name: 2 for name in items(cfg.model) if name.endswith(
        ('.num_classes', '.num_things_classes'))})
    head.loss_cls.class_weight = json.loads(weights)
    data = inputs_for(cfg)
    for sample in data['data_samples'] if library == 'mmdet' else ():
        sample.gt_instances.labels.zero_()
    trained(cfg, data)


# By the text in the page: the config, what is changed in its snippet, and to
# what.
BACKBONE = "_delete_=True, type='mmlow"
MISTAKES = {
    "unexpected keyword argument 'depth'":
    ('mmseg/sem_fpn', BACKBONE, BACKBONE.removeprefix('_delete_=True, ')),
    "unexpected keyword argument 'momentum'":
    ('mmseg/sem_fpn', "_delete_=True, type='AdamW'", "type='AdamW'"),
    "pretrained='open-mmlab://resnet50_v1c' are weights of another backbone":
    ('mmseg/sem_fpn', 'pretrained=None,', ''),
    'to have 256 channels, but got 32 channels instead':
    ('mmseg/sem_fpn', 'neck=dict(in_channels=[32, 64, 128, 256])', ''),
    'to have 1024 channels, but got 128 channels instead':
    ('mmseg/pspnet', 'auxiliary_head=dict(in_channels=128)', ''),
    'assert len(inputs) == len(self.in_channels)':
    ('mmseg/sem_fpn', "arch='b1'", "arch='b1', out_indices=(1, 2, 3)"),
    'assert len(inputs) == len(self.convs)':
    ('mmdet/detr', 'out_indices=(3, )', ''),
    'Expected more than 1 value per channel when training':
    ('mmseg/pspnet', '', ''),
}


def test_all_errors_of_the_page_are_provoked():
    headings = re.findall(r'^### (`.*`)$', PAGE, re.M)
    assert list(MISTAKES) == [
        text for line in headings for text in re.findall('`(.+?)`', line)]


def build_and_train(cfg, images):
    model, optim_wrapper = build(cfg)
    return model.train_step(inputs_for(cfg, images), optim_wrapper)


@pytest.mark.parametrize('text', MISTAKES)
def test_error(text, tmp_path):
    family, old, new = MISTAKES[text]
    cfg = user_config(tmp_path, base_named(family), old, new)
    images = 1 if 'more than 1 value' in text else 2
    with pytest.raises((AssertionError, RuntimeError, TypeError,
                        ValueError)) as error:
        build_and_train(cfg, images)
    # An assertion without text shows its line.
    assert text in ''.join(traceback.format_exception(error.value))
