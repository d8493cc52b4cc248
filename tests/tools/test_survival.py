"""Training that is killed, runs out of disk, or is spread over processes."""
import errno
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from itertools import count
from pathlib import Path

import psutil
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from mmlowformer import LowFormer, engine
from mmlowformer.engine import UserError
from mmlowformer.engine.hooks import atomic_checkpoint

from ..helpers import (
    ROOT,
    TEST,
    TINY,
    TINY_SEGMENTOR,
    TRAIN,
    run_program,
    run_tool,
)

CONFIG = TINY_SEGMENTOR.replace('batch_size=2', 'batch_size=1') + """
val_dataloader = dict(batch_size=1)
test_dataloader = dict(batch_size=1)
train_cfg = dict(max_iters=12, val_interval=12)
custom_hooks = [dict(type='EMAHook', momentum=0.01)]
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=2))
"""
LAST = 'iter_12.pth'


@pytest.fixture(scope='module')
def folder(tmp_path_factory, shapes):
    """A folder with a config, and three images to test on."""
    folder = tmp_path_factory.mktemp('survival')
    data = shutil.copytree(shapes / 'ade', folder / 'ade')
    for kind, suffix in (('images', 'jpg'), ('annotations', 'png')):
        validation = data / kind / 'validation'
        first = sorted(validation.glob(f'*.{suffix}'))[0]
        shutil.copy(first, validation / f'third.{suffix}')
    (folder / 'tiny.py').write_text(
        CONFIG + f"data_root = '{data}/'\n" + ''.join(
            f'{name}_dataloader.update(dataset=dict(data_root=data_root))\n'
            for name in ('train', 'val', 'test')))
    return folder


TRAIN_ON_TWO = ('bash', str(ROOT / 'tools' / 'dist_train.sh'), 'tiny.py', '2',
                '--work-dir')
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS='1', PYTHON=sys.executable)


def rank_of(process):
    return process.environ().get('RANK')


@pytest.fixture(scope='module')
def killed(folder):
    """Work dir and exit status after one of two processes was killed."""
    work_dir = folder / 'killed'
    with open(folder / 'killed.log', 'w') as log:
        job = subprocess.Popen(
            [*TRAIN_ON_TWO, work_dir], cwd=folder, env=ENVIRONMENT,
            stdout=log, stderr=subprocess.STDOUT)
    while not (work_dir / 'iter_2.pth').exists() and job.poll() is None:
        time.sleep(0.01)
    ranks = psutil.Process(job.pid).children()
    next(rank for rank in ranks if rank_of(rank) == '1').send_signal(
        signal.SIGKILL)
    status = job.wait(timeout=60)
    assert not any(rank.is_running() for rank in ranks)
    return work_dir, status


@pytest.mark.slow
@pytest.mark.usefixtures('safe_loading')
def test_killed_rank_ends_the_job(killed):
    work_dir, status = killed
    assert status != 0
    assert not (work_dir / LAST).exists()
    engine.check_resumable(engine.saved_checkpoints(work_dir)[0])


def cut_short(file):
    os.truncate(file, file.stat().st_size // 2)


@pytest.fixture(scope='module')
def resumed(folder, killed):
    """Work dir and output of the same command, with a torn latest file."""
    work_dir = shutil.copytree(killed[0], folder / 'run')
    torn = engine.saved_checkpoints(work_dir)[0]
    cut_short(torn)
    result = subprocess.run(
        [*TRAIN_ON_TWO, work_dir, '--resume', 'auto'], cwd=folder, text=True,
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=600)
    assert result.returncode == 0, result.stdout
    return work_dir, torn, result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures('safe_loading')
def test_torn_checkpoint_is_passed_over(resumed):
    work_dir, torn, output = resumed
    assert (f'Skipped: checkpoint {torn} cannot be read'
            in ' '.join(output.split()))
    before = int(torn.stem.removeprefix('iter_')) - 1
    assert f'resumed epoch: 0, iter: {before}' in output
    assert engine.check_checkpoint(work_dir / LAST)['meta']['iter'] == 12
    assert sorted(file.name for file in work_dir.glob('iter_*')) == [
        'iter_11.pth', LAST]


@pytest.fixture
def tested_here(folder):
    """Metrics of test.py in this process, which has imported all."""

    def metrics_of(checkpoint):
        out = folder / 'metrics.json'
        out.unlink(missing_ok=True)
        result = run_tool(TEST, 'tiny.py', checkpoint, '--work-dir', 'test',
                          '--out', out, cwd=folder)
        assert result.returncode == 0, result.stdout
        return json.loads(out.read_text())

    return metrics_of


@pytest.mark.slow
@pytest.mark.usefixtures('safe_loading')
def test_processes_give_the_same_metrics(folder, resumed, tested_here):
    """Three images on two processes are four, one of them twice."""
    # So short a training may see nothing right; the background is there.
    state = torch.load(resumed[0] / LAST)['state_dict']
    checkpoint = folder / 'background.pth'
    torch.save(dict(state_dict=saying(0, state)), checkpoint)
    out = folder / 'together.json'
    result = run_program(
        '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', 2,
        TEST, 'tiny.py', checkpoint, '--launcher', 'pytorch',
        '--work-dir', 'test', '--out', out, cwd=folder)
    assert result.returncode == 0, result.stdout
    metrics = json.loads(out.read_text())
    assert metrics['mIoU'] > 0
    assert metrics == tested_here(checkpoint)


def saying(label, state, prefix=''):
    """Weights that see one of the five classes everywhere."""
    bias = torch.zeros(5)
    bias[label] = 1e6
    return dict(state, **{f'{prefix}decode_head.conv_seg.bias': bias})


@pytest.mark.slow
@pytest.mark.usefixtures('safe_loading')
def test_the_average_is_tested(folder, resumed, tested_here):
    content = torch.load(resumed[0] / LAST)
    ground, circle = 0, 1
    accuracies = []
    for average, weights in ((ground, circle), (circle, ground)):
        torch.save(dict(
            content, state_dict=saying(average, content['state_dict']),
            ema_state_dict=saying(weights, content['ema_state_dict'],
                                  'module.')), folder / 'averaged.pth')
        accuracies.append(tested_here(folder / 'averaged.pth')['aAcc'])
    # Most of an image is ground.
    assert accuracies[0] > 60
    assert accuracies[1] < 40


SLURM_TRAIN = ROOT / 'tools' / 'slurm_train.sh'


@pytest.fixture
def slurm_train(tmp_path):
    """Run the script with an srun that prints what it is given."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)

    def call(*arguments, **environment):
        return subprocess.run(
            ['bash', str(SLURM_TRAIN), *arguments], text=True, cwd=tmp_path,
            capture_output=True, env=dict(
                environment, PATH=f'{tmp_path}:{os.environ["PATH"]}'))

    return call


def test_slurm(slurm_train):
    result = slurm_train('gpu', 'my job', 'c.py', '4', '--work-dir', 'a b',
                         '--resume', 'auto')
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        '--partition', 'gpu', '--job-name', 'my job', '--gres', 'gpu:4',
        '--ntasks', '4', '--ntasks-per-node', '4', '--cpus-per-task', '5',
        '--kill-on-bad-exit=1', 'python', '-u', str(TRAIN), 'c.py',
        '--launcher', 'slurm', '--work-dir', 'a b', '--resume', 'auto']


def test_slurm_on_several_nodes(slurm_train):
    settings = dict(GPUS_PER_NODE='4', CPUS_PER_TASK='6', PYTHON='py',
                    SRUN_ARGS='--time 1:00:00 --quotatype=spot')
    arguments = slurm_train('gpu', 'job', 'c.py', '16',
                            **settings).stdout.splitlines()
    assert arguments[4:16] == [
        '--gres', 'gpu:4', '--ntasks', '16', '--ntasks-per-node', '4',
        '--cpus-per-task', '6', '--kill-on-bad-exit=1', '--time', '1:00:00',
        '--quotatype=spot']
    assert arguments[16] == 'py'
    assert 'gpu:8' in slurm_train('gpu', 'job', 'c.py', '16').stdout


@pytest.mark.parametrize('arguments', [
    (), ('gpu', 'job', 'c.py'), ('gpu', 'job', 'c.py', '--resume'),
    ('gpu', 'job', 'c.py', '0')])
def test_slurm_usage(slurm_train, arguments):
    result = slurm_train(*arguments)
    assert result.returncode == 2
    assert not result.stdout
    assert 'PARTITION JOB CONFIG GPUS [arguments of train.py]' in \
        result.stderr


def limit_files_to(size):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return limit


@pytest.mark.slow
@pytest.mark.usefixtures('safe_loading')
def test_no_room_for_a_checkpoint(folder, resumed):
    """A limit on the size of files stands for a disk that is nearly full.

    The kernel fails the write half-way as well, and it takes no privileges.
    """
    work_dir = shutil.copytree(resumed[0], folder / 'full')
    latest = work_dir / LAST
    content = latest.read_bytes()
    result = run_program(
        TRAIN, 'tiny.py', '--work-dir', work_dir, '--resume', '--cfg-options',
        'train_cfg.max_iters=14', 'default_hooks.checkpoint.max_keep_ckpts=1',
        cwd=folder, preexec_fn=limit_files_to(len(content) // 2))
    assert result.returncode == 1
    assert 'Traceback' not in result.stdout, result.stdout
    message = result.stdout.splitlines()[-1]
    assert message.startswith(
        f'train.py: error: {work_dir}/iter_13.pth could not be written: File '
        'too large (')
    assert f'The checkpoint before, {latest} (' in message
    assert 'is intact: free space' in message
    assert '--resume' in message
    assert [file.name for file in work_dir.glob('iter_*')] == [LAST]
    assert latest.read_bytes() == content
    assert engine.latest_checkpoint(work_dir) == latest


def test_write_to_a_full_disk(tmp_path, monkeypatch):
    file = tmp_path / 'epoch_1.pth'
    file.write_bytes(b'old')
    open_file = Path.open
    monkeypatch.setattr(Path, 'open', lambda path, *args, **kw: open_file(
        Path('/dev/full') if path.suffix == '.partial' else path, *args, **kw))
    with pytest.raises(UserError, match='epoch_1.pth could not be written: '
                       'No space left on device .* There is no earlier'), \
            engine.full_disk_errors(tmp_path):
        atomic_checkpoint.WholeFiles().put(b'new', file)
    assert [entry.name for entry in tmp_path.iterdir()] == ['epoch_1.pth']
    assert file.read_bytes() == b'old'


def test_other_errors_are_not_about_the_disk(tmp_path):
    with pytest.raises(PermissionError), engine.full_disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, 'Permission denied')


class Toy(BaseModel):
    """Its loss is a mean over the images, and its weights are the metric."""

    def __init__(self, backbone=None):
        super().__init__()
        self.backbone = backbone or nn.Conv2d(3, 1, 1)

    def forward(self, inputs, mode='tensor'):
        maps = self.backbone(inputs)
        loss = sum(m.square().mean() for m in maps)
        return dict(loss=loss) if mode == 'loss' else [loss]


class Score(BaseMetric):
    """A metric that gets better with each validation."""

    values = count()

    def process(self, data_batch, data_samples):
        self.results.append(None)

    def compute_metrics(self, results):
        return dict(acc=next(self.values))


def make_runner(work_dir, epochs, model=None, hooks=(), images=2,
                resume_from=None, **settings):
    sampler = dict(type='DefaultSampler', shuffle=False)
    data = [dict(inputs=image) for image in torch.rand(
        images, 3, 32, 32, generator=torch.Generator().manual_seed(0))]
    loader = dict(dataset=data, sampler=sampler, batch_size=1,
                  collate_fn=dict(type='default_collate'))
    return Runner(
        model or Toy(), str(work_dir), train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_dataloader=loader, val_cfg=dict(), val_evaluator=[Score()],
        default_hooks=dict(checkpoint=dict(
            type='CheckpointHook', interval=1, max_keep_ckpts=1,
            save_best='acc')),
        custom_hooks=[engine.AtomicCheckpointHook(), *hooks],
        log_level='ERROR',
        load_from=resume_from and str(resume_from), resume=bool(resume_from),
        experiment_name=f'{work_dir} {time.time()}',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), **settings))


class PowerCut(BaseException):
    pass


def train_until_write(number, work_dir, monkeypatch):
    """Train until the machine dies in the middle of a file.

    Returns:
        bool: Whether the training lived to the end.
    """
    writes = count(1)

    def flush_to_disk(descriptor):
        if next(writes) == number:
            os.truncate(descriptor, 100)
            # A machine without power cleans up nothing.
            monkeypatch.setattr(Path, 'unlink', lambda *_, **__: None)
            raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', flush_to_disk)
        try:
            make_runner(work_dir, 3).train()
        except PowerCut:
            return False
    return True


def usable(files):
    for file in files:
        engine.check_checkpoint(file)
    return len(files)


# A latest and a best one in the first epoch, the latest anew to note the
# best, and so on.
@pytest.mark.usefixtures('safe_loading')
@pytest.mark.parametrize('number', range(1, 11))
def test_power_cut_at_any_write(number, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        finished = train_until_write(number, tmp_path, patch)
    assert finished == (number == 10)
    assert usable(list(tmp_path.glob('epoch_*.pth'))) >= (number > 1)
    assert usable(list(tmp_path.glob('best_*.pth'))) >= (number > 2)
    if finished:
        assert len(list(tmp_path.glob('*.pth'))) == 2
    assert len(list(tmp_path.glob('*.partial'))) == (not finished)
    # What is left over is gone after the next training.
    latest = engine.latest_checkpoint(tmp_path)
    make_runner(tmp_path, 4, resume_from=latest).train()
    assert not list(tmp_path.glob('*.partial'))
    assert engine.latest_checkpoint(tmp_path).name == 'epoch_4.pth'


class Record(Hook):
    """The weights after each iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.weights = []

    def after_train_iter(self, runner, *args, **kwargs):
        self.weights.append(parameters_of(runner.model))


def parameters_of(model):
    return {name: value.detach().clone() for name, value in
            model.named_parameters()}


def averaged(weights, momentum):
    """By hand: the first weights, then a step towards each that follows."""
    average = weights[0]
    for new in weights[1:]:
        average = {name: (1 - momentum) * value + momentum * new[name]
                   for name, value in average.items()}
    return average


def lowformer():
    torch.manual_seed(0)
    return Toy(LowFormer(TINY, norm_eval=True))


@pytest.mark.usefixtures('safe_loading')
def test_average_goes_on(tmp_path):
    record, momentum = Record(), 0.25
    for epochs in (1, 3):
        latest = engine.latest_checkpoint(tmp_path)
        hooks = [record, dict(type='EMAHook', momentum=momentum)]
        if latest:
            hooks.append(dict(type='mmlowformer.StateDictAdapterHook'))
        make_runner(tmp_path, epochs, lowformer(), hooks,
                    resume_from=latest).train()
    content = torch.load(engine.latest_checkpoint(tmp_path))
    average, weights = content['state_dict'], content['ema_state_dict']
    assert weights['steps'] == len(record.weights) == 6
    for name, value in averaged(record.weights, momentum).items():
        torch.testing.assert_close(average[name], value)
        assert torch.equal(weights[f'module.{name}'],
                           record.weights[-1][name])
        assert not torch.equal(average[name], record.weights[-1][name])


def changes(images, batch_size, counts):
    """What training for an epoch changed, and in how many steps."""
    model = lowformer().double()
    before = parameters_of(model)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01),
                           accumulative_counts=counts)
    batches = images.split(batch_size)
    wrapper.initialize_count_status(model, 0, len(batches))
    steps = []
    wrapper.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    model.train()
    for batch in batches:
        model.train_step(dict(inputs=batch), wrapper)
    after = parameters_of(model)
    return {name: after[name] - value for name, value in before.items()
            }, len(steps)


@pytest.mark.parametrize('number', [4, 5])
def test_accumulation_is_a_larger_batch(number):
    """Of 5 images the last makes a step of its own."""
    # In float32 the differences of the weights are off by 1e-5 as well.
    images = torch.rand(number, 3, 64, 64, dtype=torch.float64)
    expected, steps = changes(images, batch_size=2, counts=1)
    actual, same_steps = changes(images, batch_size=1, counts=2)
    assert same_steps == steps == math.ceil(number / 2)
    for name, value in expected.items():
        assert value.abs().max() > 0
        error = (actual[name] - value).norm() / value.norm()
        assert error < 1e-5, name


PAGE = (ROOT / 'docs' / 'training.md').read_text(encoding='utf-8')
PEAK, DECAY_CONFIG = re.findall(
    r'executed by tests/tools/test_survival.py -->\n```python\n(.*?)```', PAGE,
    re.S)


def test_checkpointing_lowers_the_peak(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(PEAK, names)
    usual, low = (names['peak'](256, with_cp=value) for value in (False, True))
    gradients = 4 * sum(
        p.numel() for p in LowFormer('b1').parameters()) / 2**20
    assert gradients < low < 0.8 * usual


@pytest.mark.parametrize(('name', 'part'), [
    ('retinanet_lowformer_b1_coco', 'bbox_head.'),
    ('fpn_lowformer_b1_ade20k', 'decode_head.')])
def test_layer_decay(name, part, tmp_path):
    (tmp_path / 'mine.py').write_text(
        f"_base_ = '{ROOT / 'configs' / name}.py'\n{DECAY_CONFIG}")
    cfg = Config.fromfile(tmp_path / 'mine.py')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    groups = {group['param_name']: group
              for group in wrapper.optimizer.param_groups}
    assert groups.keys() == dict(model.named_parameters()).keys()
    base = cfg.optim_wrapper.optimizer.lr
    # b1: the stem, 14 blocks, and what is behind the backbone.
    stem, last, head = (
        groups[next(key for key in groups if key.startswith(prefix))]
        for prefix in ('backbone.stem.', 'backbone.stages.3.', part))
    assert stem['lr'] == pytest.approx(base * 0.9 ** 15)
    assert last['lr'] == pytest.approx(base * 0.9 ** 6)
    assert head['lr'] == base
    assert groups['backbone.stem.0.bn.weight']['weight_decay'] == 0
    rates = wrapper.get_lr()
    assert (rates['lr'][0], rates['base_lr'][0]) == (stem['lr'], base)


@pytest.mark.parametrize(('constructor', 'options'), [
    ('mmdet.LearningRateDecayOptimizerConstructor',
     dict(num_layers=6, decay_rate=0.9)),
    ('mmseg.LearningRateDecayOptimizerConstructor',
     dict(num_layers=6, decay_rate=0.9)),
    ('mmpretrain.LearningRateDecayOptimWrapperConstructor',
     dict(layer_decay_rate=0.9))])
def test_layer_decay_of_the_libraries(constructor, options):
    import_module(constructor.split('.')[0] + '.engine')
    with pytest.raises(NotImplementedError):
        build_optim_wrapper(Toy(LowFormer(TINY)), dict(
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.1),
            constructor=constructor, paramwise_cfg=options))
