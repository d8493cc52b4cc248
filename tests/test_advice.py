"""What the tools advise works when it is pasted."""
import ast
import re
import shutil

import pytest

from mmlowformer import LowFormer, engine, get_config, get_config_path
from mmlowformer.config.loading import read_config
from mmlowformer.datasets.checks.check_datasets import datasets_in
from mmlowformer.datasets.config_writer import Settings, write_config
from mmlowformer.datasets.paths import check_paths
from mmlowformer.engine.hooks import run_summary
from mmlowformer.errors import UserError

from . import commands
from .helpers import ROOT, TOOLS, write_custom_data

# Of pip, uv, venv, Docker, nvidia-smi and MMDetection's converter.
OTHER_OPTIONS = {
    '--clear', '--extra-index-url', '--force-reinstall', '--index-strategy',
    '--install', '--no-binary', '--no-build-isolation', '--no-cache-dir',
    '--no-clean', '--no-compile', '--no-deps', '--no-index', '--python',
    '--query-gpu', '--shm-size', '--split-train', '--version'}


def test_options_in_messages_exist():
    known = commands.options_of_tools() | OTHER_OPTIONS
    unknown = {}
    for file in [*(ROOT / 'mmlowformer').rglob('*.py'), *TOOLS.glob('*.py')]:
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for option in re.findall(r'(?<![\w-])--[a-z][\w-]+',
                                         node.value):
                    if option not in known:
                        unknown[option] = file.name
    assert not unknown


class Runner:
    """A training that is about to start."""

    train_dataloader = type('Loader', (), dict(dataset=None))

    def __init__(self, model, cfg=()):
        self.model, self.cfg = model, dict(cfg)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(run_summary, 'say', lines.append)
    monkeypatch.setattr(run_summary, 'warn', lines.append)
    return lambda: ' '.join(' '.join(lines).split())


@pytest.mark.parametrize('kind', ['boxes', 'masks', 'folders'])
def test_published_weights_change_the_learning_rate(kind, shapes, said,
                                                    tmp_path):
    """The hint of a training from scratch on custom data."""
    write_custom_data(tmp_path, shapes)
    scratch, tuned = (read_config(write_config(
        kind, str(tmp_path), Settings('b0', weights=weights),
        str(tmp_path / f'{weights}.py'))[0])
        for weights in ('none', 'published'))
    run_summary.describe_random_weights(Runner(LowFormer('b0'), scratch))
    option, = re.findall(r'Add (--weights published) to', said())
    args = commands.parse('train', ['mine.py', *option.split()])
    assert scratch.optim_wrapper.optimizer.lr > \
        4 * tuned.optim_wrapper.optimizer.lr
    engine.set_weights(scratch, args.weights)
    assert scratch.model.backbone == tuned.model.backbone
    assert scratch.optim_wrapper == tuned.optim_wrapper
    engine.set_weights(tuned, 'none')
    assert tuned.optim_wrapper.optimizer.lr == tuned.lr_from_scratch


def test_a_chosen_learning_rate_is_kept(shapes, tmp_path):
    write_custom_data(tmp_path, shapes)
    cfg = read_config(write_config('boxes', str(tmp_path), Settings('b0'))[0])
    cfg.optim_wrapper.optimizer.lr = 0.123
    engine.set_weights(cfg, 'none')
    assert cfg.optim_wrapper.optimizer.lr == 0.123


@pytest.mark.parametrize('model', [
    dict(arch='b0', in_channels=4), dict(arch='b0', norm_cfg=dict(
        type='GN', num_groups=8)), dict(arch='b1_no_mlp')])
def test_weights_that_cannot_fit_are_not_advised(model, said):
    run_summary.describe_random_weights(Runner(LowFormer(**model)))
    assert 'starts from scratch' in said()
    assert '--weights' not in said()


def test_a_copied_config_finds_its_base(tmp_path):
    copy = shutil.copy(get_config_path('lowformer_b1_transfer'), tmp_path)
    assert read_config(copy).model == get_config('lowformer_b1_transfer').model


@pytest.mark.parametrize(('config', 'source'), [
    ('retinanet_lowformer_b1_coco', 'cocodataset.org'),
    ('bytetrack_lowformer_b1_mot17', 'motchallenge.net'),
    ('ocsort_lowformer_b1_mot17', 'motchallenge.net'),
    ('retinanet_lowformer_b0_shapes', 'make_shapes.py data/shapes'),
    ('fpn_lowformer_b0_shapes', 'make_shapes.py data/shapes'),
    ('lowformer_b1_transfer', 'make_shapes.py data/shapes'),
    ('track_lowformer_tiny_shapes', 'make_shapes.py data/shape_videos')])
def test_missing_data_have_their_remedy(config, source, tmp_path,
                                        monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = get_config(config)
    for name in ('train_dataloader', 'val_dataloader'):
        dataset, = datasets_in(cfg[name])
        dataset.setdefault('ann_file', 'missing')
        with pytest.raises(UserError) as error:
            check_paths(dataset, name, cfg.data_root)
        message = str(error.value)
        assert source in message
        for tool, words in commands.commands_in(re.sub(
                r'python (tools/make\S+ [\w/ -]+)', r'\n\1\n',
                message)):
            if tool == 'make_shapes':
                commands.parse(tool, words)
