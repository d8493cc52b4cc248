"""Commands that are printed can be pasted."""
import shlex
import sys

import pytest
from mmengine.config import Config
from mmengine.hooks import EarlyStoppingHook
from torch import nn

from mmlowformer.engine import run_summary


@pytest.fixture
def said(monkeypatch, tmp_path):
    """What is said in a folder that has an environment and the tools."""
    lines = []
    monkeypatch.setattr(run_summary, 'say', lines.append)
    monkeypatch.chdir(tmp_path)
    environment = tmp_path / '.venv/bin'
    environment.mkdir(parents=True)
    (environment / 'python').symlink_to(sys.executable)
    (tmp_path / 'tools').mkdir()
    monkeypatch.setattr(sys, 'executable', str(environment / 'python'))
    monkeypatch.setattr(sys, 'argv', ['tools/test.py'])
    return lines


def test_without_the_environment(said, monkeypatch, tmp_path):
    """As after ``make demo``."""
    monkeypatch.setenv('PATH', '/usr/bin')
    run_summary.suggest_prediction(tmp_path / 'work_dirs/demo/epoch_5.pth')
    assert said[0].splitlines()[1:] == [
        '  .venv/bin/python tools/predict.py work_dirs/demo/epoch_5.pth IMAGE']


def test_in_the_environment(said, monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path / '.venv/bin'))
    run_summary.suggest_prediction('my models/epoch_5.pth')
    assert said[0].splitlines()[1:] == [
        "  python tools/predict.py 'my models/epoch_5.pth' IMAGE"]


def test_words_with_spaces_stay_whole():
    words = ['python', 'tools/test.py', 'a  folder ' * 12, 'b c' * 9, 'd']
    text = run_summary.command(*words)
    assert shlex.split(text.replace('\\\n', '')) == words


class Runner:
    """A training that has ended."""

    hooks = [EarlyStoppingHook('acc')]
    train_loop = type('Loop', (), dict(stop_training=True))()
    epoch, max_epochs = 3, 9

    def __init__(self, folder, **cfg):
        self.work_dir = self.log_dir = str(folder)
        config = folder / 'mine.py'
        config.touch()
        self.cfg = Config(cfg, filename=config)
        last = folder / 'epoch_3.pth'
        last.touch()
        self.message_hub = type('Hub', (), dict(
            runtime_info=dict(last_ckpt=str(last)), log_scalars={}))()


def test_conclusion_offers_only_what_works(said, tmp_path):
    run_summary.print_summary(Runner(tmp_path), 1)
    text = ' '.join('\n'.join(said).split())
    assert 'stopped early by EarlyStoppingHook (acc), after 3 of 9' in text
    assert 'tools/' not in text


def test_conclusion_with_curves_and_a_test(said, tmp_path):
    log = tmp_path / '20260101_120000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 1.0, "iter": 1, "step": 1}\n')
    runner = Runner(tmp_path, model=dict(type='X'),
                    test_dataloader=dict(batch_size=1))
    run_summary.print_summary(runner, 1)
    text = '\n'.join(said)
    assert all(f'tools/{name}.py' in text
               for name in ('analyze_log', 'test', 'predict'))


@pytest.mark.parametrize(('training', 'ending'), [
    (True, '0.00 M parameters, 0.00 M trained'), (False, 'M parameters')])
def test_trained_parameters_are_those_of_trainings(training, ending):
    """A deployed copy has none, and is not about to be trained."""
    model = nn.Conv2d(3, 3, 1).requires_grad_(False)
    assert run_summary._model(model, training=training).endswith(ending)
