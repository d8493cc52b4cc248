"""Bringing the environment up: what can go wrong is named."""
import subprocess
import sys

import pytest

from ..conftest import ROOT

sys.path.insert(0, str(ROOT / 'tools'))
import setup_env


def test_pins_are_read():
    assert setup_env.read_pin('mmcv.txt', 'mmcv') == '2.1.0'
    assert setup_env.read_pin('torch.txt', 'torch') == '2.12.1'


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


def fake_python(folder, script):
    path = folder / 'python'
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)
    return path


def test_failed_build_leaves_nothing(tmp_path, capsys):
    python = fake_python(
        tmp_path, 'echo "[1/77] c++ a.cpp"; echo "fatal error: no.h"; exit 1')
    folder = tmp_path / 'wheels' / 'key'
    with pytest.raises(setup_env.SetupError, match='fatal error: no.h') as e:
        setup_env.build_mmcv(python, folder)
    assert 'did not compile' in str(e.value)
    assert '1/77 files compiled' in capsys.readouterr().out
    assert [path.name for path in folder.parent.iterdir()] == ['key.log']


def test_build_fills_the_wheel_folder(tmp_path):
    # The argument behind -w is where the wheel goes.
    python = fake_python(
        tmp_path, 'while [ "$1" != -w ]; do shift; done\n'
        'mkdir -p "$2"; touch "$2/mmcv-2.1.0.whl"')
    folder = tmp_path / 'wheels' / 'key'
    wheel = setup_env.build_mmcv(python, folder)
    assert wheel == folder / 'mmcv-2.1.0.whl'
    assert wheel.exists()


def test_fingerprint_follows_the_pins(tmp_path, monkeypatch):
    before = setup_env.fingerprint()
    assert setup_env.fingerprint() == before
    pins = tmp_path / 'requirements'
    pins.mkdir()
    (pins / 'torch.txt').write_text('torch==9\n')
    monkeypatch.setattr(setup_env, 'REQUIREMENTS', pins)
    assert setup_env.fingerprint() != before
