"""Two processes with all that makes a training faster or smaller."""
import json

import pytest
import torch

from mmlowformer import engine

from ..helpers import TINY_DETECTOR, TRAIN, run_program

SETTINGS = [
    'train_cfg.max_epochs=4', 'train_cfg.val_interval=9',
    'train_dataloader.batch_size=1', 'default_hooks.logger.interval=1',
    'train_dataloader.dataset.pipeline.2.scale=(64,64)',
    'optim_wrapper.accumulative_counts=2',
    'optim_wrapper.paramwise_cfg.norm_decay_mult=0.',
    # At higher rates, rounding alone changes the curve.
    'optim_wrapper.optimizer.lr=1e-4']
EMA = "custom_hooks=[dict(type='EMAHook', momentum=0.1)]\n"


@pytest.fixture
def train(tmp_path, shapes):
    """Train in two processes; returns output, losses and checkpoint."""
    (tmp_path / 'tiny.py').write_text(TINY_DETECTOR + EMA)

    def run(name, *arguments, settings=()):
        result = run_program(
            '-m', 'torch.distributed.run', '--standalone',
            '--nproc-per-node', 2, TRAIN, 'tiny.py', '--launcher', 'pytorch',
            '--work-dir', name, '--seed', 1, *arguments, '--cfg-options',
            f'data_root={shapes}/coco/', *SETTINGS, *settings, cwd=tmp_path)
        assert result.returncode == 0, result.stdout
        log, = (tmp_path / name).glob('2*/vis_data/scalars.json')
        records = map(json.loads, log.read_text().splitlines())
        losses = [record['loss'] for record in records if 'loss' in record]
        return result.stdout, losses, engine.check_checkpoint(
            tmp_path / name / 'epoch_4.pth')

    return run


@pytest.mark.slow
def test_two_processes_compiled(train):
    """The same losses and averaged weights as without."""
    _, expected, plain = train('plain')
    output, losses, fast = train(
        'fast', '--compile', '--channels-last',
        settings=['model.backbone.with_cp=True'])
    output = ' '.join(output.split())
    assert 'compiled backbone, neck, bbox_head' in output
    assert 'Compiled in 0:' in output
    assert len(losses) == 8
    assert losses == pytest.approx(expected, rel=1e-3)
    for name in ('state_dict', 'ema_state_dict'):
        assert fast[name].keys() == plain[name].keys()
        for key, value in plain[name].items():
            torch.testing.assert_close(fast[name][key], value, rtol=1e-2,
                                       atol=1e-3)
