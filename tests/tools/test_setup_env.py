"""Bringing the environment up: what can go wrong is named."""
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mmlowformer.utils import imports

from ..helpers import ROOT, fake_python

sys.path.insert(0, str(ROOT / 'tools'))
import setup_env

TORCH, TORCHVISION = (imports.pinned(name) for name in (
    'torch', 'torchvision'))


def test_pins_are_read():
    assert setup_env.read_pin('mmcv.txt', 'mmcv') == 'mmcv==2.1.0'
    assert setup_env.read_pin('torch.txt', 'torch').startswith('torch==')


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


RANGE = 'python>=3.10,<3.15'


@pytest.mark.parametrize('version', [(3, 9, 1), (3, 15, 0)])
def test_other_python(monkeypatch, version):
    monkeypatch.setattr(sys, 'version_info', version)
    with pytest.raises(setup_env.SetupError, match='3.10 to 3.14 is needed'):
        setup_env.check_python()


def test_the_range_of_pythons_is_said_everywhere(monkeypatch):
    """requirements/python.txt has it, which the doctor and setup.py read."""
    assert setup_env.read_pin('python.txt', 'python') == RANGE
    for page in ('README.md', 'docs/get_started.md'):
        assert 'Python 3.10–3.14' in (ROOT / page).read_text()
    makefile = (ROOT / 'Makefile').read_text()
    for minor in range(10, 15):
        assert f'python3.{minor}' in makefile
        monkeypatch.setattr(sys, 'version_info', (3, minor, 0))
        setup_env.check_python()
        assert imports.fits_python(RANGE)


def test_makefile_names_a_missing_python():
    make = subprocess.run(
        ['make', 'setup', 'PYTHON='], cwd=ROOT, capture_output=True, text=True)
    assert make.returncode != 0
    assert f'{RANGE} is needed' in make.stderr


@pytest.mark.parametrize('script', ['exit 1', 'exit 0'])
def test_makefile_asks_each_python(tmp_path, script):
    """The first that says that it can is used."""
    fake_python(tmp_path, script).rename(tmp_path / 'python3.11')
    fake_python(tmp_path, 'exit 0').rename(tmp_path / 'python3.14')
    for name in ('python3.12', 'python3.13', 'python3', 'python3.10'):
        fake_python(tmp_path, 'exit 1').rename(tmp_path / name)
    make = subprocess.run(
        ['make', '-n', 'setup'], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'})
    chosen = 'python3.14' if script == 'exit 1' else 'python3.11'
    assert f'\n{chosen} tools/setup_env.py' in make.stdout


@pytest.mark.parametrize('goal', ['demo', 'demo-cls', 'setup'])
def test_a_demo_needs_no_tests(goal):
    assert '--with-tests' not in dry_run(goal)


@pytest.mark.parametrize('goal', ['test', 'test-quick', 'test-slow', 'lint'])
def test_tests_need_more(goal):
    assert '--with-tests' in dry_run(goal)


def dry_run(goal):
    return subprocess.run(
        ['make', '-n', goal, 'PYTHON=python'], cwd=ROOT, check=True,
        capture_output=True, text=True).stdout


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
        setup_env.bring_up(tmp_path, 'openmmlab', False)


def test_all_is_pinned_for_each_stack():
    for stack, mmcv in setup_env.STACKS.items():
        assert setup_env.read_pin(f'{mmcv}.txt', mmcv).startswith(f'{mmcv}==')
        assert setup_env.read_pin(f'{stack}.txt', 'numpy')


@pytest.mark.slow
def test_an_extra_lies_on_top(tmp_path, monkeypatch):
    """What is below it can be imported, and is not installed again."""
    installed = []
    monkeypatch.setattr(setup_env, 'run', lambda command, what: (
        installed.append(command[-1])))
    top = tmp_path / 'venv-tflite'
    setup_env.bring_up_extra(top, Path(sys.prefix), 'tflite')
    assert installed == [f'{ROOT}[tflite]']
    code = "import sys, pytest; print(sys.prefix, pytest.__file__, sep='\\n')"
    prefix, file = subprocess.run(
        [top / 'bin/python', '-c', code], capture_output=True, text=True,
        check=True).stdout.splitlines()
    assert prefix == str(top)
    assert file == pytest.__file__


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """An environment with one package."""
    monkeypatch.setattr(setup_env, 'check_machine', lambda stack: None)
    folder = tmp_path / 'Zoë Müller' / '.venv'
    site = folder / 'lib/python3.11/site-packages'
    (site / 'pack-1.dist-info').mkdir(parents=True)
    (site / 'pack').mkdir()
    (site / 'pack/a, b.py').touch()
    (site / 'pack-1.dist-info/RECORD').write_text(
        '"pack/a, b.py",sha256=0,0\npack-1.dist-info/RECORD,,\n')
    (folder / 'pyvenv.cfg').write_text('home = here\n')
    return folder


STATE = dict(inputs='', stack='openmmlab', tests=False, backend='')


def brought_up(venv, **state):
    """Whether this state of a finished environment makes it work again."""
    calls = []
    setup_env.once(venv, {**STATE, **state}, calls.append)
    return bool(calls)


def test_nothing_is_done_twice(venv):
    assert brought_up(venv)
    assert not brought_up(venv)
    assert brought_up(venv, inputs='others')


def test_packages_for_tests_come_when_they_are_needed(venv):
    assert brought_up(venv)
    assert brought_up(venv, tests=True)
    assert not brought_up(venv, tests=True)
    assert not brought_up(venv)


def test_deleted_files_are_noticed(venv, capsys):
    assert brought_up(venv)
    next(venv.glob('lib/*/site-packages/pack/a*')).unlink()
    assert brought_up(venv)
    assert 'pack/a, b.py is missing' in capsys.readouterr().out
    assert (venv / 'pyvenv.cfg').read_text() == ''


def test_deleted_packages_are_noticed(venv, capsys):
    assert brought_up(venv)
    next(venv.glob('lib/*/site-packages/pack-*/RECORD')).unlink()
    assert brought_up(venv)
    assert 'creating it anew' in capsys.readouterr().out


def test_another_torch_is_asked_for(venv, capsys):
    assert brought_up(venv)
    assert brought_up(venv, backend='cpu')
    assert 'TORCH_BACKEND; creating it anew' in capsys.readouterr().out
    assert not brought_up(venv)


def test_a_stamp_of_an_older_set_up(venv):
    (venv / 'mmlowformer-setup').write_text('0f3a')
    assert brought_up(venv)


@pytest.mark.slow
def test_a_moved_folder_is_made_anew(tmp_path, capsys):
    """As `activate` and the programs name the folder where it was."""
    venv, moved = (tmp_path / name / '.venv' for name in ('Zoë M.', 'moved'))
    setup_env.create_venv(venv)
    (venv / 'mine').touch()
    setup_env.create_venv(venv)
    assert (venv / 'mine').exists()
    moved.parent.mkdir()
    venv.rename(moved)
    setup_env.create_venv(moved)
    assert 'creating' in capsys.readouterr().out
    assert not (moved / 'mine').exists()
    assert str(moved) in (moved / 'bin/activate').read_text()


def test_a_folder_of_other_files_is_not_cleared(tmp_path):
    (tmp_path / 'thesis.tex').touch()
    with pytest.raises(setup_env.SetupError, match='name another --venv'):
        setup_env.create_venv(tmp_path)
    assert (tmp_path / 'thesis.tex').exists()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Arguments of each call of a pip that has torch for the CPU, or not."""
    log = tmp_path / 'log'
    monkeypatch.delenv('TORCH_BACKEND', raising=False)
    monkeypatch.delenv('FORCE_CUDA', raising=False)
    monkeypatch.setattr(setup_env.sys, 'platform', 'linux')

    def install(status=0, gpu=False):
        monkeypatch.setattr(setup_env, 'has_gpu', lambda: gpu)
        python = fake_python(tmp_path, f'echo "$@" >> {log}; case "$@" in '
                             f'*+c*) echo no such build; exit {status};; esac')
        setup_env.install_torch(python)
        return log.read_text().splitlines()

    return install


def test_torch_for_the_cpu(installed, capsys):
    (call, ) = installed()
    assert call.endswith('--extra-index-url https://download.pytorch.org/whl/'
                         f'cpu {TORCHVISION}+cpu {TORCH}+cpu')
    assert 'make setup TORCH_BACKEND=default' in capsys.readouterr().out


def test_an_index_without_torch_for_the_cpu(installed, capsys):
    calls = installed(status=1)
    assert calls[1].endswith(f'{TORCHVISION} {TORCH}')
    assert 'does not have it' in capsys.readouterr().out


def test_torch_for_a_gpu(installed):
    (call, ) = installed(gpu=True)
    assert call.endswith(f'{TORCHVISION} {TORCH}')


def test_the_user_chooses_torch(installed, monkeypatch):
    monkeypatch.setenv('TORCH_BACKEND', 'cu126')
    assert f'{TORCH}+cu126' in installed(gpu=True)[0]
    with pytest.raises(setup_env.SetupError, match='no such build'):
        installed(status=1)


def test_uv_installs_if_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert setup_env.pip_install('python')[:3] == ['python', '-m', 'pip']
    fake_python(tmp_path, '').rename(tmp_path / 'uv')
    assert setup_env.pip_install('python') == [
        f'{tmp_path}/uv', 'pip', 'install', '-q', '--python', 'python']


def test_one_opencv(tmp_path):
    """pip takes the stub for the opencv-python that MMEngine requires."""
    wheel = setup_env.write_opencv_stub(tmp_path)
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps',
                    '--target', tmp_path / 'site', wheel], check=True)
    found = metadata.Distribution.discover(path=[str(tmp_path / 'site')])
    (stub, ) = found
    headless = setup_env.read_pin('opencv.txt', 'opencv-python-headless')
    assert (stub.name, stub.requires) == ('opencv-python', [headless])
    assert stub.version == headless.split('==')[1]
    assert not [*(tmp_path / 'site').glob('cv2*')]
