"""Commands that are printed can be pasted."""
import sys

import pytest

from mmlowformer.engine import summary


@pytest.fixture
def said(monkeypatch, tmp_path):
    """What is said in a folder that has an environment and the tools."""
    lines = []
    monkeypatch.setattr(summary, 'say', lines.append)
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
    summary.suggest_prediction(tmp_path / 'work_dirs/demo/epoch_5.pth')
    assert said[0].splitlines()[1:] == [
        '  .venv/bin/python tools/predict.py work_dirs/demo/epoch_5.pth PHOTO']


def test_in_the_environment(said, monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path / '.venv/bin'))
    summary.suggest_prediction('my models/epoch_5.pth')
    assert said[0].splitlines()[1:] == [
        "  python tools/predict.py 'my models/epoch_5.pth' PHOTO"]
