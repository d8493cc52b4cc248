"""The hooks of a config, with tools that know nothing of mmlowformer."""
from pathlib import Path

import mmdet
import pytest
from mmengine.hooks import Hook

from mmlowformer import engine, get_config
from mmlowformer.engine.cli import add_hooks
from mmlowformer.errors import UserError
from mmlowformer.registry import HOOKS

from ..helpers import ROOT

# The tool that MMDetection installs, which "mim train mmdet" starts.
MMDET_TRAIN = Path(mmdet.__file__).parent / '.mim/tools/train.py'
CONFIG = ROOT / 'configs/retinanet_lowformer_b0_shapes.py'


@pytest.fixture
def train(shapes, run_here, tmp_path):
    """Train for one short epoch with MMDetection's own tool."""
    def run(*options):
        data = f'{shapes}/coco/'
        return run_here(
            MMDET_TRAIN, CONFIG, '--work-dir', 'run', '--cfg-options',
            'train_dataloader.dataset.pipeline.2.scale=(32,32)',
            'val_dataloader.dataset.pipeline.1.scale=(32,32)',
            f'val_evaluator.ann_file={data}annotations/instances_val2017.json',
            *(f'{loader}.{option}' for loader in
              ('train_dataloader', 'val_dataloader')
              for option in (f'dataset.data_root={data}', 'batch_size=2',
                             'num_workers=0', 'persistent_workers=False')),
            'train_cfg.max_epochs=1', 'default_hooks.logger.interval=50',
            *options, cwd=tmp_path)
    return run


def test_train_with_mmdets_own_tool(train, tmp_path):
    output = train().stdout
    assert 'Epoch 1/1  2/2  loss' in output
    assert 'batch size 2 = 1 process x' in output
    assert 'LowFormer-b0 starts from scratch: 0/' in output
    assert 'default_hooks.logger.interval=1' in output
    assert (tmp_path / 'run/last_validation').read_text() == '2'
    assert (tmp_path / 'run/epoch_1.pth').is_file()
    # MMEngine's own lines are in the log file alone.
    assert 'Checkpoints will be saved to' not in output
    log, = (tmp_path / 'run').glob('2*/2*.log')
    assert 'Checkpoints will be saved to' in log.read_text()


@pytest.mark.slow
def test_fast_training_with_mmdets_own_tool(train):
    output = train(
        'optim_wrapper.type=mmlowformer.BFloat16OptimWrapper',
        'optim_wrapper.optimizer.fused=True',
        'optim_wrapper.accumulative_counts=2',
        'default_hooks.memory_format.channels_last=True',
        'default_hooks.compile.type=mmlowformer.CompileHook',
        'default_hooks.compile.backend=eager').stdout
    steps = ' '.join(output.split())
    assert 'channels-last, compiled backbone, neck, bbox_head' in steps
    assert 'fused AdamW' in steps
    assert 'Epoch 1/1  2/2  loss' in output
    assert 'Compiled in 0:00:' in output


def test_a_diverging_training_stops(train, tmp_path):
    lr = 'optim_wrapper.optimizer.lr=1e38'
    with pytest.raises(UserError, match='default_hooks.check_nan'):
        train(lr, 'param_scheduler=None')
    assert not list((tmp_path / 'run').glob('*.pth'))
    train(lr, 'param_scheduler=None', 'default_hooks.check_nan.enabled=False',
          'train_cfg.val_interval=2')
    weights = engine.check_checkpoint(tmp_path / 'run/epoch_1.pth')
    assert not all(value.isfinite().all()
                   for value in weights['state_dict'].values())


def test_each_hook_can_be_switched_off():
    hooks = {name: hook for name, hook in get_config(
        'retinanet_lowformer_b1_coco').default_hooks.items()
        if hook.type.startswith('mmlowformer.')}
    assert len(hooks) == 14
    for hook in hooks.values():
        assert type(HOOKS.build(hook)).__name__ == hook.type.split('.')[1]
        assert type(HOOKS.build(dict(hook, enabled=False))) is Hook


def test_any_config_gets_the_hooks():
    cfg = get_config('retinanet_lowformer_b1_coco')
    ours = dict(cfg.default_hooks)
    cfg.default_hooks = dict(
        timer=dict(type='IterTimerHook'), check_nan=None,
        progress_bar=dict(type='mmlowformer.ProgressBarHook', enabled=False))
    add_hooks(cfg)
    assert 'check_nan' not in cfg.default_hooks
    assert not cfg.default_hooks.progress_bar.enabled
    assert cfg.default_hooks.run_summary == ours['run_summary']
    assert 'logger' not in cfg.default_hooks


def test_old_names_of_the_api():
    for old, new in dict(StopAtNaN='CheckNaNHook',
                         SaveSafely='AtomicCheckpointHook',
                         load_safely='enable_safe_loading').items():
        with pytest.warns(FutureWarning, match=new):
            assert getattr(engine, old) is getattr(engine, new)
