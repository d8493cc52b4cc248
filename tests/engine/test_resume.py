"""A resumed training goes on as if it had not been interrupted."""
import json
import time
from types import SimpleNamespace

import mmengine.dataset.sampler
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmlowformer.engine import check_checkpoint
from mmlowformer.engine.hooks import resume_validation
from mmlowformer.engine.hooks.progress_bar import LogHistoryHook
from mmlowformer.engine.hooks.resume_order import ResumeOrderHook
from mmlowformer.engine.hooks.resume_validation import (
    EarlyStoppingRecordHook,
)

IMAGES = 7


class Images(BaseDataset):
    """Images of alternating shapes; each that is loaded leaves a file."""

    def __init__(self, folder):
        self.folder = folder
        super().__init__()

    def load_data_list(self):
        return [dict(number=number, width=1 + number % 2, height=1.5)
                for number in range(IMAGES)]

    def __getitem__(self, index):
        (self.folder / f'{time.monotonic_ns()}').touch()
        return dict(number=self.get_data_info(index)['number'])


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, number, mode='loss'):
        if mode == 'loss':
            self.seen.append(list(map(int, number)))
            return dict(loss=self.weight.sum() + len(self.seen))
        return number


class Score(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(None)

    def compute_metrics(self, results):
        return dict(acc=0.5)


@pytest.fixture
def train(tmp_path):
    """Train by iterations, and return the Runner."""
    def run(iterations, *hooks, resume=None, custom_hooks=(), seed=None,
            log_processor=None, randomness=None, **loader):
        folder = tmp_path / f'loaded_{time.monotonic_ns()}'
        folder.mkdir()
        data = dict(
            dict(dataset=Images(folder), batch_size=2, num_workers=0,
                 collate_fn=dict(type='default_collate'),
                 sampler=dict(type='InfiniteSampler')), **loader)
        runner = Runner(
            Toy(), str(tmp_path / 'run'), train_dataloader=data,
            train_cfg=dict(by_epoch=False, max_iters=iterations,
                           val_interval=2),
            val_dataloader=dict(dataset=Images(tmp_path), batch_size=2,
                                sampler=dict(type='DefaultSampler')),
            val_cfg=dict(), val_evaluator=[Score()],
            default_hooks=dict(checkpoint=dict(
                type='CheckpointHook', by_epoch=False, interval=1)),
            custom_hooks=[*hooks, *custom_hooks], log_level='ERROR',
            log_processor=dict(by_epoch=False, **(log_processor or {})),
            load_from=resume and str(tmp_path / f'run/iter_{resume}.pth'),
            resume=bool(resume), randomness=randomness or dict(seed=seed),
            cfg=dict(custom_hooks=list(custom_hooks), load_from=resume and str(
                tmp_path / f'run/iter_{resume}.pth')),
            experiment_name=f'{tmp_path} {time.monotonic_ns()}',
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)))
        runner.train()
        runner.loaded = len(list(folder.iterdir()))
        return runner
    return run


LOADERS = {
    'infinite': {},
    'workers': dict(num_workers=2),
    'persistent': dict(num_workers=2, persistent_workers=True),
    'epochs': dict(sampler=dict(type='DefaultSampler')),
    'drop_last': dict(sampler=dict(type='DefaultSampler'), drop_last=True),
    'sliced': dict(num_batch_per_epoch=2),
    'aspect_ratio': dict(
        sampler=dict(type='DefaultSampler'), num_workers=1,
        batch_sampler=dict(type='mmdet.AspectRatioBatchSampler')),
}


@pytest.fixture
def _no_pause(monkeypatch):
    """MMEngine waits for 2 s between epochs."""
    monkeypatch.setattr('mmengine.runner.loops.time',
                        SimpleNamespace(sleep=lambda _: None))


@pytest.mark.usefixtures('_no_pause', 'safe_loading')
@pytest.mark.parametrize('loader', [
    pytest.param(loader, id=name, marks=[pytest.mark.slow] * (
        name == 'persistent')) for name, loader in LOADERS.items()])
def test_the_order_of_images_goes_on(loader, train):
    # No seed is given; the checkpoint has it.
    whole = train(12, **loader).model.seen
    resumed = train(12, ResumeOrderHook(), resume=9, **loader)
    assert resumed.model.seen == whole[9:]
    assert whole[:3] != whole[9:]
    # MMEngine has started workers that load the first images once more.
    if not loader.get('num_workers'):
        assert resumed.loaded == sum(map(len, whole[9:]))


@pytest.mark.usefixtures('safe_loading')
@pytest.mark.parametrize('randomness', [
    dict(seed=None), dict(seed=3, diff_rank_seed=True)])
@pytest.mark.parametrize('rank', [0, 1])
def test_each_rank_goes_on(rank, randomness, train, monkeypatch):
    monkeypatch.setattr(mmengine.dataset.sampler, 'get_dist_info',
                        lambda: (rank, 2))
    whole = train(8, randomness=randomness).model.seen
    resumed = train(8, ResumeOrderHook(), resume=5, randomness=randomness)
    assert resumed.model.seen == whole[5:]
    assert resumed.train_dataloader.batch_sampler.sampler.rank == rank


@pytest.mark.usefixtures('safe_loading')
def test_without_the_hook_all_is_loaded_again(train):
    train(4)
    loaded = train(6, resume=4, seed=0).loaded
    assert loaded == 2 * 6
    assert train(6, ResumeOrderHook(), resume=4, seed=0).loaded == 2 * 2


class Losses(Hook):
    priority = 'LOWEST'

    def __init__(self):
        self.lines = []

    def after_train_iter(self, runner, batch_idx, *args, **kwargs):
        tag, _ = runner.log_processor.get_log_after_iter(
            runner, batch_idx, 'train')
        self.lines.append({key: value for key, value in tag.items()
                           if 'time' not in key})


@pytest.mark.parametrize('processor', [
    dict(window_size=2),
    dict(window_size=2, custom_cfg=[
        dict(data_src='loss', log_name='long', method_name='mean',
             window_size=5)]),
    dict(window_size=2, custom_cfg=[
        dict(data_src='loss', log_name='all', method_name='mean',
             window_size='global')])])
def test_the_log_stays_the_same(processor, train):
    free, limited = Losses(), Losses()
    train(9, free, log_processor=processor)
    hub = train(9, limited, LogHistoryHook(max_length=1),
                log_processor=processor).message_hub
    assert limited.lines == free.lines
    length = len(hub.get_scalar('train/loss').data[0])
    windows = [item['window_size'] for item in processor.get(
        'custom_cfg', ())]
    assert length == (9 if 'global' in windows else max([4, *windows]))


@pytest.mark.usefixtures('safe_loading')
def test_a_long_history_is_cut_when_it_resumes(train, tmp_path):
    train(2)
    file = tmp_path / 'run/iter_2.pth'
    content = check_checkpoint(file)
    content['message_hub']['log_scalars']['train/loss'] = HistoryBuffer(
        [7.] * 5000, [1] * 5000)
    # The content is still mapped from the old file.
    torch.save(content, tmp_path / 'long.pth')
    (tmp_path / 'long.pth').replace(file)
    train(3, LogHistoryHook(), resume=2)
    saved = check_checkpoint(tmp_path / 'run/iter_3.pth')
    losses, counts = saved['message_hub']['log_scalars']['train/loss'].data
    assert len(losses) == len(counts) == 1000
    assert losses[-1] != 7 == losses[-2]


STOPPING = dict(type='EarlyStoppingHook', monitor='acc', patience=2)


@pytest.mark.usefixtures('safe_loading')
def test_a_training_that_was_stopped_early(train, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(resume_validation, 'say', said.append)
    record = tmp_path / 'run/stopped_early.json'
    stopped = train(20, EarlyStoppingRecordHook(), custom_hooks=[STOPPING])
    assert stopped.iter == 6
    assert json.loads(record.read_text())['checkpoint'] == 'iter_6.pth'
    # Restarted by itself, twice.
    for _ in range(2):
        resumed = train(20, EarlyStoppingRecordHook(), resume=6,
                        custom_hooks=[STOPPING])
        assert not resumed.model.seen
        text = said.pop().replace('\n', ' ')
        assert 'custom_hooks.0.patience=4' in text
        assert record.name in text
    # From an earlier checkpoint, with other settings, or without the record.
    assert train(8, EarlyStoppingRecordHook(), resume=4,
                 custom_hooks=[STOPPING]).iter == 8
    assert not record.exists()
    train(20, EarlyStoppingRecordHook(), custom_hooks=[STOPPING])
    assert train(10, EarlyStoppingRecordHook(), resume=6, custom_hooks=[
        dict(STOPPING, patience=9)]).iter == 10
    assert not record.exists()


def test_a_finished_training_was_not_stopped(train, tmp_path):
    train(6, EarlyStoppingRecordHook(), custom_hooks=[STOPPING])
    assert not (tmp_path / 'run/stopped_early.json').exists()
