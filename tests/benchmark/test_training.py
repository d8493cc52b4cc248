"""Training steps of whole models, with their losses."""
import pytest
import torch
from torch import nn

from mmlowformer import LowFormer
from mmlowformer.benchmark import report
from mmlowformer.benchmark.candidates import build
from mmlowformer.benchmark.models import Spec, find_models
from mmlowformer.benchmark.options import Options, Settings
from mmlowformer.benchmark.run import benchmark
from mmlowformer.benchmark.training import prepare_training, training_batch
from mmlowformer.engine import UserError

from ..helpers import (
    ROOT,
    TINY,
    TINY_CLASSIFIER,
    TINY_DETECTOR,
    TINY_SEGMENTOR,
)
from ..models.test_lowformer import SMALL

# In two stages, with a head of masks.
TINY_MASK_RCNN = f"""
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(_delete_=True, type='mmlowformer.LowFormer', arch={TINY}),
    neck=dict(in_channels=[8, 16, 16, 32], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=16),
        mask_roi_extractor=dict(out_channels=16),
        mask_head=dict(in_channels=16, conv_out_channels=16)))
"""
TEXTS = dict(det=TINY_DETECTOR, seg=TINY_SEGMENTOR, cls=TINY_CLASSIFIER,
             mask=TINY_MASK_RCNN)
SETTINGS = dict(shape=(64, 64), batch_size=2, mode='train', min_time=0.01,
                repeats=1, warm_up_calls=1, warm_up_time=0)


def spec_of(folder, task, options=None):
    file = folder / f'{task}.py'
    file.write_text(TEXTS[task])
    spec, = find_models([str(file)], full_model=True)
    spec.options = options
    return spec


@pytest.fixture
def step(tmp_path):
    """Model and training step of a task."""
    def make(task, **options):
        spec = spec_of(tmp_path, task)
        settings = Settings(**SETTINGS, options=Options(**options))
        model, images = build(spec, settings)
        return model, prepare_training(model, spec, settings.options, images)
    return make


@pytest.mark.parametrize('task', TEXTS)
@pytest.mark.parametrize('options', [
    {}, dict(channels_last=True, dtype='bf16', amp=True, fused=True)])
def test_whole_models(step, task, options):
    model, training = step(task, **options)
    before = {name: value.clone() for name, value in
              model.named_parameters()}
    training.call()
    training.call()
    changed = {name for name, value in model.named_parameters()
               if not torch.equal(value, before[name])}
    assert {name.split('.')[0] for name in changed} >= {'backbone'}
    assert len({name.split('.')[0] for name in changed}) > 1
    assert training.steps == (
        ['build', 'channels_last', 'autocast bf16', 'fused']
        + ['chunked loss'] * (task == 'seg') if options else ['build'])


def test_record(tmp_path):
    record = benchmark([spec_of(tmp_path, 'det', 'eager'), spec_of(
        tmp_path, 'det', 'channels_last,amp,bf16,fused')],
        Settings(**SETTINGS))
    for row in record['rows']:
        assert row['failure'] is None
        assert row['kind'] == 'full model'
        assert row['images_per_second'] > 0
        assert row['memory']['rss'] > 0
        assert row['macs'] > 0
    assert [row['options']['fused'] for row in record['rows']] == [False, True]
    assert len(report.table_header(record)) == len(
        report.table_rows(record)[0])
    assert 'train, 64x64' in report.describe(record)


def test_ground_truth_is_the_same_in_each_run(step):
    model, _ = step('seg')
    one, other = (training_batch(model, 2, (64, 32)) for _ in range(2))
    assert [image.shape for image in one['inputs']] == 2 * [(3, 64, 32)]
    assert torch.equal(one['inputs'][1], other['inputs'][1])
    masks = [batch['data_samples'][1].gt_sem_seg.data
             for batch in (one, other)]
    assert torch.equal(*masks)
    assert masks[0].unique().tolist() == list(range(
        model.decode_head.num_classes))


def test_compiled(monkeypatch):
    """The time of the first step is counted apart."""
    calls = []
    monkeypatch.setattr('mmlowformer.benchmark.training.compile_parts',
                        lambda model, **settings: calls.append(settings))
    model = LowFormer(SMALL)
    options = Options(compile='default')
    training = prepare_training(model, Spec('a', 'b', nn.Identity), options,
                                torch.rand(2, 3, 32, 32))
    assert calls == [dict(mode='default')]
    assert training.steps == ['build', 'compile default']
    assert training.compile_seconds > 0


def test_models_without_ground_truth(tmp_path):
    spec, = find_models([str(ROOT / 'configs/track_lowformer_tiny_shapes.py')],
                        full_model=True)
    row, = benchmark([spec], Settings(**SETTINGS))['rows']
    assert 'LowFormerTracker cannot be trained on generated' in row['failure']


def test_losses_that_are_not_finite(step):
    model, training = step('cls')
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(float('nan'))
    with pytest.raises(UserError, match='the loss of cls is nan'):
        training.call()


def test_configs_of_a_library():
    spec, = find_models(['mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'],
                        full_model=True)
    assert spec.name == 'retinanet_r50_fpn_1x_coco'
    assert spec.optim_wrapper.optimizer.type == 'SGD'
    with pytest.raises(UserError, match='config not found: mmdet::none.py'):
        find_models(['mmdet::none.py'])
