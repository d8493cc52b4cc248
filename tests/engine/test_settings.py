"""Values of settings."""
import pytest
from mmengine.config import Config

from mmlowformer import get_config
from mmlowformer.config.loading import config_folder
from mmlowformer.engine import (
    UserError,
    check_settings,
    check_testing,
    check_training,
)

# Without the data of one's own these make no settings.
NAMES = sorted(path.stem for path in config_folder().glob('*.py')
               if not path.stem.endswith('_custom'))


@pytest.mark.parametrize('name', NAMES)
def test_no_false_alarms(name):
    cfg = get_config(name)
    check_settings(cfg)
    check_testing(cfg)
    if cfg.get('train_dataloader'):
        check_training(cfg)


@pytest.fixture
def cfg():
    return get_config('retinanet_lowformer_b0_shapes')


@pytest.mark.parametrize(('key', 'value'), [
    ('train_dataloader.batch_size', True), ('train_cfg.val_interval', 0.5),
    ('train_cfg.max_epochs', -1), ('optim_wrapper.optimizer.lr', '1e-3'),
    ('optim_wrapper.optimizer.lr', float('inf')), ('val_dataloader', [1]),
    ('model.backbone', 'b1'), ('default_hooks.logger.interval', 0),
    ('auto_scale_lr.base_batch_size', 0), ('work_dir', 5)])
def test_values(cfg, key, value):
    node = cfg
    *path, name = key.split('.')
    for part in path:
        node = node[part]
    node[name] = value
    with pytest.raises(UserError, match=f'^{key} has to be'):
        check_settings(cfg)


@pytest.mark.parametrize('value', [1.0, 57300.0, 1])
def test_intervals_that_are_computed(cfg, value):
    cfg.train_cfg.val_interval = value
    check_settings(cfg)


def test_without_validation(cfg):
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    check_training(cfg)


def test_without_data_set(cfg):
    cfg.val_dataloader.pop('dataset')
    with pytest.raises(UserError, match='val_dataloader has no dataset'):
        check_settings(cfg)


def test_hook_of_ones_own(cfg):
    cfg.default_hooks.checkpoint = dict(type='Mine', anything=1)
    check_training(cfg)
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', save_optimizer=False, backend_args=None)
    check_training(cfg)


@pytest.mark.parametrize(('arch', 'out_indices', 'neck'), [
    ('b1', (0, 1, 2, 3), [32, 64, 128, 256]), ('b3', (1, 3), (128, 512)),
    ('b0', (-1, ), [256]), ('b0', 3, [256])])
def test_necks_that_fit(arch, out_indices, neck):
    check_settings(Config(dict(model=dict(
        backbone=dict(type='mmlowformer.LowFormer', arch=arch,
                      out_indices=out_indices),
        neck=dict(type='FPN', in_channels=neck)))))


def test_heads():
    model = dict(backbone=dict(type='LowFormer', arch='b1'),
                 neck=dict(type='GlobalAveragePooling'),
                 head=dict(type='LinearClsHead', in_channels=256))
    check_settings(Config(dict(model=model)))
    model['head']['in_channels'] = 512
    with pytest.raises(UserError, match='model.head.in_channels=256'):
        check_settings(Config(dict(model=model)))
    model['neck'] = dict(type='HRFuseScales', in_channels=(32, 64, 128, 256))
    check_settings(Config(dict(model=model)))


def test_channels_from_the_last_feature_map():
    model = dict(backbone=dict(type='LowFormer', out_indices=(1, 2, 3)),
                 neck=dict(type='YOLOV3Neck', in_channels=[256, 128, 64]))
    check_settings(Config(dict(model=model)))
    model['neck']['in_channels'] = [64, 128, 256]
    with pytest.raises(UserError, match=r'in_channels=.256,128,64'):
        check_settings(Config(dict(model=model)))


def test_other_backbones():
    check_settings(Config(dict(model=dict(
        backbone=dict(type='ResNet', depth=50),
        neck=dict(type='FPN', in_channels=[1, 2])))))


FPN = dict(type='FPN', num_outs=5)
LEVELS = [8, 16, 32, 64, 128]


@pytest.mark.parametrize('parts', [
    dict(mask_head=dict(type='SOLOHead', strides=[8, 8, 16, 32, 32])),
    dict(roi_head=dict(semantic_roi_extractor=dict(featmap_strides=[8])))])
def test_strides_of_feature_maps_that_a_head_makes(parts):
    check_settings(Config(dict(model=dict(
        backbone=dict(type='LowFormer'), neck=FPN, **parts))))


@pytest.mark.parametrize(('neck', 'parts', 'remedy'), [
    (FPN, dict(bbox_head=dict(type='RetinaHead', anchor_generator=dict(
        strides=LEVELS))), 'bbox_head.anchor_generator.strides='),
    (FPN, dict(bbox_head=dict(type='ATSSHead', anchor_generator=dict(
        strides=[(8, 8), (16, 16)]))), 'bbox_head.anchor_generator.strides='),
    (FPN, dict(bbox_head=dict(type='FCOSHead', strides=LEVELS)),
     'bbox_head.strides='),
    ([FPN, dict(type='BFP', num_levels=5)], dict(bbox_head=dict(
        type='RetinaHead', anchor_generator=dict(strides=LEVELS))),
     'bbox_head.anchor_generator.strides='),
    (dict(FPN, type='NASFPN'), dict(bbox_head=dict(
        type='RetinaHead', anchor_generator=dict(strides=LEVELS))),
     'bbox_head.anchor_generator.strides='),
    (FPN, dict(rpn_head=dict(type='RPNHead', anchor_generator=dict(
        strides=LEVELS))), 'rpn_head.anchor_generator.strides='),
    (FPN, dict(roi_head=dict(bbox_roi_extractor=dict(
        featmap_strides=LEVELS[:4]))), 'bbox_roi_extractor.featmap_strides='),
    (dict(type='CSPNeXtPAFPN'), dict(bbox_head=dict(
        type='RTMDetHead', anchor_generator=dict(
            type='MlvlPointGenerator', strides=LEVELS[:3]))), 'strides='),
    (dict(type='YOLOXPAFPN'), dict(bbox_head=dict(
        type='YOLOXHead', strides=LEVELS[:3])), 'bbox_head.strides='),
    (None, dict(bbox_head=dict(prior_generator=dict(strides=LEVELS[:3]))),
     'prior_generator.strides='),
])
def test_strides(neck, parts, remedy):
    def check(out_indices):
        check_settings(Config(dict(model=dict(
            neck=neck, **parts, backbone=dict(
                type='LowFormer', out_indices=out_indices)))))

    check((1, 2, 3))
    with pytest.raises(UserError, match=f'{remedy}.4,8'):
        check((0, 1, 2))


@pytest.mark.parametrize('name', ['runner_type', 'strategy'])
def test_what_is_ignored_is_told(cfg, name, log):
    cfg[name] = 'FlexibleRunner'
    check_settings(cfg)
    assert f'{name} is ignored' in log.text


@pytest.mark.parametrize(('topk', 'classes', 'fits'), [
    ((1, 5), 3, False), (4, 3, False), ((1, 3), 3, True), (1, 3, True)])
def test_more_best_classes_than_there_are(topk, classes, fits):
    cfg = get_config('lowformer_b0_in1k')
    cfg.model.head.num_classes = classes
    cfg.val_evaluator.topk = cfg.test_evaluator.topk = topk
    if fits:
        check_training(cfg)
        check_testing(cfg)
        return
    for check, name in ((check_training, 'val'), (check_testing, 'test')):
        with pytest.raises(UserError, match=rf'{name}_evaluator\.topk=1'):
            check(cfg)
