"""Bringing the environment up: what can go wrong is named."""
import subprocess
import sys
from pathlib import Path

import pytest

from ..helpers import ROOT, fake_python

sys.path.insert(0, str(ROOT / 'tools'))
import setup_env


def test_pins_are_read():
    assert setup_env.read_pin('mmcv.txt', 'mmcv') == 'mmcv==2.1.0'
    assert setup_env.read_pin('torch.txt', 'torch') == 'torch==2.12.1'


def test_missing_compiler(tmp_path, monkeypatch):
    monkeypatch.delenv('CXX', raising=False)
    monkeypatch.setenv('PATH', str(tmp_path))
    result = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'setup_env.py', '--venv',
         tmp_path / 'venv'], capture_output=True, text=True)
    assert result.returncode == 1
    assert 'No C++ compiler' in result.stderr
    assert 'apt-get install g++' in result.stderr
    assert not (tmp_path / 'venv').exists()


@pytest.mark.parametrize('version', [(3, 9, 1), (3, 13, 0)])
def test_other_python(monkeypatch, version):
    monkeypatch.setattr(sys, 'version_info', version)
    with pytest.raises(setup_env.SetupError, match='3.10 to 3.12 is needed'):
        setup_env.check_machine()


def test_makefile_names_a_missing_python():
    make = subprocess.run(
        ['make', 'setup', 'PYTHON='], cwd=ROOT, capture_output=True, text=True)
    assert make.returncode != 0
    assert 'Python 3.10, 3.11 or 3.12 is needed' in make.stderr


def test_fingerprint_follows_the_pins(tmp_path, monkeypatch):
    before = setup_env.fingerprint('openmmlab')
    assert setup_env.fingerprint('openmmlab') == before
    assert setup_env.fingerprint('onedl') != before
    pins = tmp_path / 'requirements'
    pins.mkdir()
    (pins / 'torch.txt').write_text('torch==9\n')
    monkeypatch.setattr(setup_env, 'REQUIREMENTS', pins)
    assert setup_env.fingerprint('openmmlab') != before


def test_stacks_are_not_mixed(tmp_path, monkeypatch):
    python = fake_python(tmp_path, 'echo onedl-mmcv')
    monkeypatch.setattr(setup_env, 'create_venv', lambda venv: python)
    with pytest.raises(setup_env.SetupError, match='holds onedl-mmcv'):
        setup_env.bring_up(tmp_path, 'openmmlab')


def test_all_is_pinned_for_each_stack():
    for stack, mmcv in setup_env.STACKS.items():
        assert setup_env.read_pin(f'{mmcv}.txt', mmcv).startswith(f'{mmcv}==')
        assert setup_env.read_pin(f'{stack}.txt', 'numpy')


def test_an_extra_lies_on_top(tmp_path, monkeypatch):
    """What is below it can be imported, and is not installed again."""
    installed = []
    monkeypatch.setattr(setup_env, 'run', lambda command, what: (
        installed.append(command[-1])))
    top = tmp_path / 'venv-tflite'
    setup_env.bring_up_extra(top, Path(sys.prefix), 'tflite')
    assert installed == [f'{ROOT}[tflite]']
    code = 'import sys, pytest; print(sys.prefix, pytest.__file__)'
    prefix, file = subprocess.run(
        [top / 'bin/python', '-c', code], capture_output=True, text=True,
        check=True).stdout.split()
    assert prefix == str(top)
    assert file == pytest.__file__
