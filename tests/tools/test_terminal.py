"""What a person reads of train.py and test.py, at 80 columns."""
import re
import shlex
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import ValLoop

from mmlowformer.engine import run_summary as summary

from ..helpers import TINY_DETECTOR, TINY_SEGMENTOR, TRAIN, run_tool

DETECTOR = TINY_DETECTOR + """
model['test_cfg'] = dict(score_thr=0.0)
train_cfg = dict(max_epochs=2, val_interval=1)
val_dataloader = dict(batch_size=1)
test_dataloader = dict(batch_size=1)
"""
SEGMENTOR = TINY_SEGMENTOR + """
train_cfg = dict(max_iters=4, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""
CONFIGS = dict(detector=(DETECTOR, 'coco'), segmentor=(SEGMENTOR, 'ade'))
BEFORE_WORK = 20


def write_config(folder, shapes, kind, more=''):
    """A config in a folder; options of another place of the data."""
    content, data = CONFIGS[kind]
    folder.mkdir(exist_ok=True)
    (folder / f'{kind}.py').write_text(content + more)
    return [folder / f'{kind}.py', '--cfg-options', f'data_root={shapes}/'
            f'{data}/']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('terminal')


@pytest.fixture(scope='module')
def trained(folder, shapes):
    """Arguments of a training that is complete, and its output."""
    arguments = write_config(folder, shapes, 'detector')
    result = run_tool(
        TRAIN, *arguments[:1], '--work-dir', 'run', *arguments[1:],
        cwd=folder)
    assert result.returncode == 0, result.stdout
    return arguments, result.stdout


def before(output, first):
    lines = output.splitlines()
    return lines[:next(index for index, line in enumerate(lines)
                       if line.startswith(first))]


def test_few_lines_before_training(trained):
    lines = before(trained[1], 'Epoch 1/2  1/2')
    assert len(lines) <= BEFORE_WORK
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize('fact', [
    r'^Model +RetinaNet with LowFormer, 0\.\d\d M parameters$',
    r'^Device +\w+ \(\d+ threads?\), float32, scope mmdet$',
    r'^Work dir +run, all details in 20\d+_\d+/20\d+_\d+\.log$',
    r'^Weights +LowFormer starts from scratch: 0/\d+ of its tensors are pr',
    r'^Training +4 images, \d+ boxes, 4 classes \(circle, square, tri',
    r'^Validation +2 images, \d+ boxes, 4 classes',
    r'^Steps +batch size 2 = 1 process',
    r'learning rate 0\.001, fused AdamW$',
    r'^Length +0 of 2 epochs done, of 2 iterations each$'])
def test_says_what_is_trained(trained, fact):
    assert re.search(fact, trained[1], re.MULTILINE)


def test_warnings_are_said(trained):
    assert 'Warning: The learning rate 0.001 was chosen for' in trained[1]
    assert 'The warm-up (20 iterations) is longer than the training (4)' in \
        trained[1].replace('\n  ', ' ')
    assert 'FileClient' not in trained[1]


def test_the_log_file_has_everything(folder, trained):
    log = next((folder / 'run').glob('2*/*.log')).read_text()
    for detail in ('System environment', 'Hooks will be executed',
                   'paramwise_options', 'FileClient', 'Epoch(train) [1][2/2]',
                   'loading annotations', "type='RetinaNet'",
                   'learning rate 0.001', 'Average Precision'):
        assert detail in log


def test_progress_in_lines(trained):
    lines = re.findall(r'^(Epoch 2/2|Validation)  (\d/2)  (.*)$', trained[1],
                       re.MULTILINE)
    assert [line[:2] for line in lines] == [
        ('Validation', '1/2'), ('Validation', '2/2'), ('Epoch 2/2', '1/2'),
        ('Epoch 2/2', '2/2'), ('Validation', '1/2'), ('Validation', '2/2')]
    assert re.fullmatch(r'loss \d+\.\d{4}  0:00:\d\d left', lines[2][2])


def command(shown, title):
    """The words below a title, as a shell takes them."""
    text = shown.replace('\\\n', '')
    return shlex.split(re.search(f'(?m)^{title}.*:\n(.*)', text)[1])


def test_concludes(folder, trained):
    end = trained[1][trained[1].index('Finished after 0:00:'):]
    assert re.search(r'^Last +run/epoch_2\.pth$', end, re.MULTILINE)
    best, file = re.search(
        r'^Best +coco/bbox_mAP \S+ in epoch (\d):\s+(run/best_\S+)$', end,
        re.MULTILINE).groups()
    assert file.endswith(f'epoch_{best}.pth')
    assert (folder / file).is_file()
    assert Path(command(end, 'Curves')[1]).name == 'analyze_log.py'
    assert command(end, 'Curves')[2:] == ['run']
    assert command(end, 'Test')[2] == 'run/detector.py'


def test_its_command_predicts(folder, trained, photos):
    _, *words, last = command(trained[1], 'Predict')
    assert last == 'IMAGE'
    result = run_tool(*words, photos[0], cwd=folder)
    assert result.returncode == 0, result.stdout
    assert (folder / 'predictions/predictions.json').is_file()


def test_its_command_tests(folder, trained):
    result = run_tool(*command(trained[1], 'Test')[1:], cwd=folder)
    assert result.returncode == 0, result.stdout
    assert len(before(result.stdout, 'Testing  1/2')) <= BEFORE_WORK
    assert re.search(r'^Weights +\d+/\d+ tensors of the model from run/best',
                     result.stdout, re.MULTILINE)
    assert 'Loads checkpoint' not in result.stdout
    assert re.search(r'^Data +2 images, \d+ boxes', result.stdout,
                     re.MULTILINE)
    assert len(list((folder / 'run' / 'pictures').iterdir())) == 2


def test_nothing_is_left(folder, trained):
    config, *options = trained[0]
    result = run_tool(TRAIN, config, '--work-dir', 'run', '--resume',
                      *options, cwd=folder)
    assert result.returncode == 0, result.stdout
    assert 'This training is finished, no iteration is left.' in result.stdout
    assert 'Epoch' not in result.stdout.replace('resumed epoch', '')
    assert 'Best        coco/bbox_mAP' in result.stdout
    assert 'was interrupted' not in result.stdout


@pytest.fixture
def press_ctrl_c(monkeypatch):
    """Interrupt at a call of a hook, as Ctrl-C does."""

    def at(stage, epoch=0):
        def press(self, runner, *args, **kwargs):
            if runner.epoch >= epoch:
                raise KeyboardInterrupt

        name = f'CtrlC{stage}{epoch}'
        HOOKS.register_module(
            module=type(name, (Hook, ), {stage: press}), force=True)
        return f"custom_hooks = [dict(type='mmengine.{name}')]\n"

    return at


@pytest.mark.parametrize(('stage', 'words'), [
    ('before_train_iter', 'Interrupted before the first checkpoint: there '
     'is nothing to resume'),
    ('before_val_iter', 'The same command with --resume continues from '
     'run/epoch_1.pth.'),
])
def test_interrupted(stage, words, press_ctrl_c, shapes, tmp_path):
    config, *options = write_config(
        tmp_path, shapes, 'detector', press_ctrl_c(stage))
    result = run_tool(TRAIN, config, '--work-dir', 'run', *options,
                      cwd=tmp_path)
    assert result.returncode == 130
    assert words in result.stdout.replace('\n', ' ')
    assert 'Traceback' not in result.stdout


@pytest.mark.parametrize(('kind', 'done', 'left'), [
    ('detector', 1, 2), ('segmentor', 4, 1),
    pytest.param('detector', 2, 1, marks=pytest.mark.slow),
    pytest.param('segmentor', 2, 2, marks=pytest.mark.slow)])
def test_an_interrupted_validation_is_made_up(
        kind, done, left, shapes, tmp_path, monkeypatch):
    """With ``left`` validations, the interrupted one among them."""
    config, *options = write_config(tmp_path, shapes, kind)
    command = (TRAIN, config, '--work-dir', 'run')
    validations, run = [], ValLoop.run

    def interrupted(loop):
        runner = loop.runner
        if done == (runner.epoch if kind == 'detector' else runner.iter):
            raise KeyboardInterrupt
        return run(loop)

    with monkeypatch.context() as patch:
        patch.setattr(ValLoop, 'run', interrupted)
        result = run_tool(*command, *options, cwd=tmp_path)
        assert result.returncode == 130, result.stdout

    def counted(loop):
        validations.append(loop.runner.iter)
        return run(loop)

    monkeypatch.setattr(ValLoop, 'run', counted)
    result = run_tool(*command, '--resume', *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert len(validations) == left
    assert 'validation of this checkpoint was interrupted' in result.stdout
    result = run_tool(*command, '--resume', *options, cwd=tmp_path)
    assert len(validations) == left
    assert 'was interrupted' not in result.stdout


def test_more_classes_than_the_masks_have(shapes, tmp_path):
    config, *options = write_config(
        tmp_path, shapes, 'segmentor',
        'unseen = dict(dataset=dict(metainfo=dict(\n'
        '    classes=[str(i) for i in range(20)], palette=[[0] * 3] * 20)))\n'
        'train_dataloader.update(unseen)\n'
        'val_dataloader = test_dataloader = unseen\n'
        'model["decode_head"]["num_classes"] = 20\n')
    result = run_tool(TRAIN, config, '--work-dir', 'run', *options,
                      cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert re.search(r'hold\s+no\s+pixel\s+of\s+5,.*15\s+of\s+20\s+classes',
                     result.stdout, re.DOTALL), result.stdout


def test_precision_is_that_of_what_is_done():
    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper'),
                      test_cfg=dict(type='TestLoop')))
    assert summary.precision(cfg, testing=False) == 'mixed precision (float16)'
    assert summary.precision(cfg, testing=True) == 'float32'
    cfg.test_cfg.fp16 = True
    assert summary.precision(cfg, testing=True) == 'mixed precision (float16)'
