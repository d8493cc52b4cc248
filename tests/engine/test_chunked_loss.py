"""Trainings of segmentors whose loss is computed in chunks."""
import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.structures import SegDataSample

from mmlowformer.engine.hooks.run_summary import describe_speed
from mmlowformer.ops import chunked_loss

from ..helpers import TINY_SEGMENTOR, forget_runs

CHUNKED = dict(type='mmlowformer.ChunkedLossHook')
BF16 = 'mmlowformer.BFloat16OptimWrapper'
SIZE = (64, 64)


class Losses(Hook):
    """Remembers the losses of each iteration."""

    def __init__(self):
        self.values = []

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        self.values += [outputs[name].item() for name in (
            'loss', 'decode.acc_seg')]


@pytest.fixture
def train(tmp_path, safe_loading, monkeypatch):
    """Train the tiny segmentor; returns the Runner and its losses."""
    monkeypatch.setattr(chunked_loss, 'CHUNK', 2**10)
    file = tmp_path / 'tiny.py'
    file.write_text(TINY_SEGMENTOR)
    cfg = Config.fromfile(file)

    def run(name, iterations, hook, **wrapper):
        forget_runs()
        torch.manual_seed(0)
        init_default_scope('mmseg')
        masks = torch.randint(cfg.model.decode_head.num_classes,
                              (2, 1, 8, 8)).repeat_interleave(
                                  8, 2).repeat_interleave(8, 3)
        masks[:, :, :5] = 255
        images = [dict(
            inputs=torch.randint(256, (3, *SIZE), dtype=torch.uint8),
            data_samples=SegDataSample(
                metainfo=dict(img_shape=SIZE, ori_shape=SIZE),
                gt_sem_seg=PixelData(data=mask))) for mask in masks]
        losses = Losses()
        runner = Runner(
            copy.deepcopy(cfg.model), str(tmp_path / name),
            default_scope='mmseg', train_dataloader=dict(
                batch_size=2, num_workers=0, dataset=images * iterations,
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='pseudo_collate')),
            train_cfg=dict(by_epoch=False, max_iters=iterations),
            optim_wrapper=dict(dict(type='OptimWrapper', optimizer=dict(
                type='AdamW', lr=1e-3)), **wrapper),
            custom_hooks=[hook, losses], randomness=dict(seed=1))
        runner.train()
        return runner, losses.values
    return run


def test_same_curve(train):
    """Of the loss and of the accuracy."""
    _, expected = train('plain', 20, dict(CHUNKED, enabled=False))
    runner, values = train('chunked', 20, CHUNKED)
    assert describe_speed(runner) == 'chunked loss of decode_head'
    assert expected[-2] < 0.9 * expected[0]
    assert values != expected
    assert values[::2] == pytest.approx(expected[::2], rel=1e-3)
    assert values[1::2] == pytest.approx(expected[1::2], abs=0.5)


def test_in_bfloat16(train):
    """The loss is in float32, in the same chunks."""
    settings = dict(type=BF16, accumulative_counts=2)
    _, expected = train('plain', 4, dict(CHUNKED, enabled=False), **settings)
    runner, values = train('chunked', 4, CHUNKED, **settings)
    assert 'chunked loss' in describe_speed(runner)
    assert values[::2] == pytest.approx(expected[::2], rel=1e-3)


@pytest.mark.parametrize(('device', 'cfg', 'heads'), [
    ('cpu', {}, ['']), ('meta', {}, []), ('cpu', dict(compile=True), [])])
def test_where_it_is_used(device, cfg, heads):
    class Run:
        model = FCNHead(in_channels=4, channels=4, num_classes=3).to(device)

    Run.cfg = cfg
    hook = HOOKS.build(CHUNKED)
    hook.before_train(Run)
    assert hook.heads == heads
