"""Trainings that start from published weights."""
import os
import re
import subprocess
import sys

import pytest
from safetensors.torch import save

from mmlowformer import LowFormer
from mmlowformer.engine.hooks import run_summary

from ..engine.test_hooks import MMDET_TRAIN
from ..helpers import ROOT, TRAIN, run_tool
from ..hub import fill_cache

CONFIG = ROOT / 'configs/retinanet_lowformer_b0_shapes.py'
HUB = 'hf-hub:timm/lowformer_b0.in1k'
LOADED = r'LowFormer-b0: (\d+)/\1 tensors from hf-hub:timm/lowformer_b0.in1k'


@pytest.fixture
def options(shapes):
    """For one step of a training."""
    root = f'{shapes}/coco/'
    return [
        '--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=9',
        f'val_evaluator.ann_file={root}annotations/instances_val2017.json',
        *(f'{loader}.{option}' for loader in
          ('train_dataloader', 'val_dataloader')
          for option in (f'dataset.data_root={root}', 'batch_size=4')),
        'train_dataloader.dataset.pipeline.2.scale=(32,32)']


def train(*arguments, cwd):
    result = run_tool(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stdout
    return ' '.join(result.stdout.split())


def test_published(hub, options, tmp_path):
    hub.publish('b0', save(LowFormer('b0').state_dict()))
    command = [TRAIN, CONFIG, '--work-dir', 'run', '--weights', 'published']
    shown = train(*command, *options, cwd=tmp_path)
    assert f'Downloading {HUB} (39 MB)' in shown
    assert re.search(LOADED, shown), shown
    assert 'from scratch' not in shown
    assert len(hub.downloads()) == 1
    # Whoever trains from the written config needs the hub, or a cache.
    assert HUB in (tmp_path / 'run' / CONFIG.name).read_text()
    # A checkpoint has all weights.
    hub.files.clear()
    hub.cache.rename(tmp_path / 'gone')
    shown = train(*command, '--resume', *options, 'train_cfg.max_epochs=2',
                  cwd=tmp_path)
    assert not re.search(LOADED, shown)
    assert (tmp_path / 'run/epoch_2.pth').exists()


def test_mmdets_own_tool_loads_from_the_hub(options, safe_loading, tmp_path):
    fill_cache('b0')
    (tmp_path / 'mine.py').write_text(f"""
_base_ = {str(CONFIG)!r}
model = dict(backbone=dict(init_cfg=dict(
    _delete_=True, type='Pretrained', checkpoint='{HUB}')))
""")
    shown = train(MMDET_TRAIN, 'mine.py', '--work-dir', 'run', *options,
                  cwd=tmp_path)
    assert re.search(LOADED, shown), shown


@pytest.mark.parametrize('name', [
    'retinanet_lowformer_b1_coco', 'track_lowformer_b15_got10k'])
def test_a_fresh_clone_offline(name, error_here, tmp_path):
    message = error_here(TRAIN, f'configs/{name}.py', cwd=tmp_path).strip()
    *_, line = message.splitlines()
    assert line.startswith('train.py: error: hf-hub:timm/lowformer_b1')
    for part in ('Download https://huggingface.co/timm/lowformer_b1',
                 '/resolve/main/model.safetensors by hand', '--weights FILE',
                 '--weights none', 'expect far less in '):
        assert part in line
    assert not list(tmp_path.iterdir())


def test_without_weights_the_data_are_next(error_here, tmp_path):
    message = error_here(TRAIN, 'configs/retinanet_lowformer_b1_coco.py',
                         '--weights', 'none', cwd=tmp_path)
    assert 'data/coco/annotations/instances_train2017.json' in message


LOAD = f"""
from mmlowformer.utils.checkpoint_schemes import load_from_hub
assert load_from_hub('{HUB}')
"""


def test_processes_share_a_mirror_and_a_cache(hub, tmp_path):
    """As the processes of a distributed training do."""
    hub.publish('b0', save(LowFormer('b0').state_dict()))
    environ = dict(os.environ, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE='0',
                   HF_HOME=str(tmp_path / 'home'))
    processes = [subprocess.Popen([sys.executable, '-c', LOAD], env=environ)
                 for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(hub.downloads()) == 1


class Runner:
    """A training that is about to start."""

    def __init__(self, model, dataset=None):
        self.model, self.cfg = model, {}
        self.train_dataloader = type('Loader', (), dict(dataset=dataset))


@pytest.mark.parametrize(('arch', 'advice'), [
    ('b0', 'Add --weights published to start from ImageNet weights, with a '
     'lower learning rate.'),
    ('b2', 'No weights of b2 were published. Train them with '
     'lowformer_b2_in1k, then add --weights work_dirs/lowformer_b2_in1k/'
     'epoch_320.pth'),
    (dict(variant='b0', depths=(0, 1, 1, 1, 1)), 'tensors are pretrained.')])
def test_from_scratch_is_said(arch, advice, monkeypatch):
    lines, warnings = [], []
    monkeypatch.setattr(run_summary, 'say', lines.append)
    monkeypatch.setattr(run_summary, 'warn', warnings.append)
    model = LowFormer(arch)
    run_summary.describe_random_weights(Runner(model))
    text, = warnings if arch == 'b2' else lines
    text = ' '.join(text.split())
    assert f'starts from scratch: 0/{len(model.state_dict())} ' in text
    assert advice in text


def test_imagenet_is_trained_from_scratch(monkeypatch):
    lines = []
    monkeypatch.setattr(run_summary, 'say', lines.append)
    dataset = type('ImageNet', (), {})()
    run_summary.describe_random_weights(Runner(LowFormer('b2'), dataset))
    assert 'published' not in lines[0]
