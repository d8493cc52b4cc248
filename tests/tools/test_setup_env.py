"""Bringing the environment up: what can go wrong is named."""
import os
import subprocess
import sys
import threading
import zipfile
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


@pytest.mark.parametrize('status', [0, 1])
def test_a_converter_without_wheels_is_left_out(tmp_path, status):
    (tmp_path / 'bin').mkdir()
    python = fake_python(tmp_path / 'bin', f"""
case "$1 $*" in "-c "*without_wheel*) exit {status};; esac
echo "$0 $@" """)
    other = tmp_path.with_name(f'{tmp_path.name}-tflite')
    (other / 'bin').mkdir(parents=True)
    fake_python(other / 'bin', 'echo "$0 $@"')
    run = subprocess.run(
        ['make', 'test-slow', f'PYTHON={python}', f'VENV={tmp_path}',
         'PYTEST_RAY=echo'], cwd=ROOT, check=True, capture_output=True,
        text=True).stdout
    assert ("LiteRT's converter has no wheels" in run) == (status == 1)
    for part in ('--extra tflite', f'{other}/bin/python -m pytest'):
        assert (part in run) == (status == 0)
    assert f'{python} -m pytest' in run


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


def test_stacks_are_not_mixed(tmp_path):
    site = tmp_path / 'lib/python3.11/site-packages'
    (site / 'onedl_mmcv-2.3.6.dist-info').mkdir(parents=True)
    with pytest.raises(setup_env.SetupError, match='holds onedl-mmcv'):
        setup_env.bring_up(tmp_path, STATE)


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
    setup_env.create_venv(top, '')
    setup_env.bring_up_extra(top, STATE, Path(sys.prefix), 'tflite')
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
    monkeypatch.delenv('TORCH_BACKEND', raising=False)
    monkeypatch.setattr(setup_env, 'check_machine', lambda mmcv: None)
    monkeypatch.setattr(setup_env, 'create_venv', lambda venv, reason: print(
        f'creating{reason}'))
    folder = tmp_path / 'Zoë Müller' / '.venv'
    site = folder / 'lib/python3.11/site-packages'
    (site / 'pack-1.dist-info').mkdir(parents=True)
    (site / 'pack').mkdir()
    (site / 'pack/a, b.py').touch()
    (site / 'pack-1.dist-info/RECORD').write_text(
        '"pack/a, b.py",sha256=0,0\npack-1.dist-info/RECORD,,\n')
    return folder


STATE = dict(inputs='', stack='openmmlab', mmcv='mmcv==2.1.0', tests=False)


def brought_up(venv, **state):
    """Whether this state of a finished environment makes it work again."""
    calls = []
    setup_env.once(venv, {**STATE, **state},
                   lambda venv, state: calls.append(state))
    return bool(calls)


def test_nothing_is_done_twice(venv, capsys):
    assert brought_up(venv)
    assert not brought_up(venv)
    capsys.readouterr()
    assert brought_up(venv, inputs='others')
    assert 'creating' not in capsys.readouterr().out


def test_packages_for_tests_come_when_they_are_needed(venv):
    assert brought_up(venv)
    assert brought_up(venv, tests=True)
    assert not brought_up(venv, tests=True)
    assert not brought_up(venv)


def test_an_interrupted_set_up_goes_on(venv, capsys):
    def interrupt(venv, state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        setup_env.once(venv, {**STATE, 'inputs': 'some'}, interrupt)
    capsys.readouterr()
    assert brought_up(venv, inputs='some')
    assert 'creating' not in capsys.readouterr().out


@pytest.mark.parametrize(('files', 'lost'), [
    ('pack/a*', 'pack/a, b.py'), ('pack-*/RECORD', 'a package')])
def test_deleted_files_are_noticed(venv, capsys, files, lost):
    assert brought_up(venv)
    next(venv.glob(f'lib/*/site-packages/{files}')).unlink()
    assert brought_up(venv)
    assert f'creating, as {lost} is missing' in capsys.readouterr().out


def test_byte_code_may_be_deleted(venv):
    with next(venv.glob('lib/*/*/*/RECORD')).open('a') as file:
        file.write('pack/__pycache__/a.cpython-311.pyc,,\n')
    assert brought_up(venv)
    assert not brought_up(venv)


def test_another_torch_is_asked_for(venv, capsys, monkeypatch):
    assert brought_up(venv)
    monkeypatch.setenv('TORCH_BACKEND', 'cpu')
    assert brought_up(venv)
    assert 'TORCH_BACKEND changed' in capsys.readouterr().out
    monkeypatch.delenv('TORCH_BACKEND')
    assert not brought_up(venv)
    setup_env.once(venv, {**STATE, 'inputs': 'others'}, lambda venv, state: (
        print(f'build {state["backend"]}')))
    assert 'build cpu' in capsys.readouterr().out


def test_a_moved_folder_is_made_anew(venv, capsys):
    """As `activate` and the programs name the folder where it was."""
    assert brought_up(venv)
    capsys.readouterr()
    assert brought_up(venv.parent.rename(venv.parent.with_name('b')) / '.venv')
    assert 'creating, as Python, its place or' in capsys.readouterr().out


@pytest.mark.parametrize('stamp', ['0f3a', '{"inputs": "", "tests": false}'])
def test_a_stamp_of_an_older_set_up(venv, capsys, stamp):
    (venv / 'mmlowformer-setup').write_text(stamp)
    assert brought_up(venv)
    assert 'creating, as an older set-up made it' in capsys.readouterr().out


@pytest.mark.slow
def test_an_environment_is_replaced(tmp_path):
    venv = tmp_path / 'Zoë M.' / '.venv'
    (venv / 'lib').mkdir(parents=True)
    (venv / 'lib/broken').touch()
    setup_env.create_venv(venv, '')
    assert not (venv / 'lib/broken').exists()
    assert str(venv) in (venv / 'bin/activate').read_text()


def test_a_folder_of_other_files_is_not_cleared(tmp_path):
    (tmp_path / 'thesis.tex').touch()
    with pytest.raises(setup_env.SetupError, match='name another --venv'):
        setup_env.create_venv(tmp_path, '')
    assert (tmp_path / 'thesis.tex').exists()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Arguments of each call of a pip that has torch for the CPU, or not."""
    log = tmp_path / 'log'
    monkeypatch.setattr(setup_env.shutil, 'which', lambda program: None)
    monkeypatch.delenv('FORCE_CUDA', raising=False)
    monkeypatch.setattr(setup_env.sys, 'platform', 'linux')

    def install(status=0, gpu=False, asked=''):
        monkeypatch.setattr(setup_env, 'has_gpu', lambda: gpu)
        python = fake_python(tmp_path, f'echo "$@" >> {log}; case "$@" in '
                             f'*+c*) echo no such build; exit {status};; esac')
        setup_env.install_torch(python, asked)
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
    assert 'cpu: neither in your package index' in capsys.readouterr().out


def test_torch_for_a_gpu(installed):
    (call, ) = installed(gpu=True)
    assert call.endswith(f'{TORCHVISION} {TORCH}')


def test_the_user_chooses_torch(installed):
    assert f'{TORCH}+cu126' in installed(gpu=True, asked='cu126')[0]
    with pytest.raises(setup_env.SetupError, match='no such build'):
        installed(status=1, asked='cu126')


def pack(folder, name, version):
    """Write an empty wheel."""
    info = f'{name}-{version}.dist-info'
    with zipfile.ZipFile(folder / f'{name}-{version}-py3-none-any.whl', 'w'
                         ) as wheel:
        wheel.writestr(f'{info}/METADATA', 'Metadata-Version: 2.1\n'
                       f'Name: {name}\nVersion: {version}\n')
        wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: '
                       'true\nTag: py3-none-any\n')
        wheel.writestr(f'{info}/RECORD', '')


@pytest.mark.slow
@pytest.mark.parametrize('build', ['', '+cpu'])
def test_pip_installs_the_build_that_is_there(tmp_path, monkeypatch, build):
    for pin in ('torch', 'torchvision'):
        name, version = setup_env.read_pin('torch.txt', pin).split('==')
        pack(tmp_path, name, version)
        pack(tmp_path, name, version + build)
    monkeypatch.setattr(setup_env.shutil, 'which', lambda program: None)
    monkeypatch.setattr(setup_env, 'has_gpu', lambda: False)
    for key, value in dict(TARGET=tmp_path / 'site', FIND_LINKS=tmp_path,
                           NO_INDEX=1).items():
        monkeypatch.setenv(f'PIP_{key}', str(value))
    setup_env.install_torch(sys.executable, '')
    found = {file.name for file in (tmp_path / 'site').iterdir()}
    assert found == {f'{pin.replace("==", "-")}{build}.dist-info'
                     for pin in (TORCH, TORCHVISION)}


@pytest.mark.parametrize('cached', [False, True])
def test_packages_are_downloaded_while_mmcv_is_compiled(
        tmp_path, monkeypatch, cached):
    """Not before, as mmcv's setup.py must not import what is half there."""
    downloading, calls = threading.Event(), []
    if cached:
        (tmp_path / 'mmcv.whl').touch()

    def build(python, package, folder, with_cuda, on_compiling):
        calls.append('setup.py')
        on_compiling()
        assert downloading.wait(5)
        calls.append('compiled')
        on_compiling()
        return tmp_path / 'mmcv.whl'

    def install():
        calls.append('download')
        downloading.set()

    monkeypatch.setattr(setup_env.mmcv_wheel, 'wheel_folder',
                        lambda python, package: (tmp_path, False))
    monkeypatch.setattr(setup_env.mmcv_wheel, 'build', build)
    assert setup_env.get_wheel('python', 'mmcv==2.1.0', install) == \
        tmp_path / 'mmcv.whl'
    assert calls == (['download'] if cached else
                     ['setup.py', 'download', 'compiled'])


def test_uv_installs_if_it_is_there(tmp_path, monkeypatch):
    """With pip's settings of indexes, the environment's before a file's."""
    setup_env.pip_install.cache_clear()
    monkeypatch.setenv('PATH', str(tmp_path))
    assert setup_env.pip_install('python')[:3] == ['python', '-m', 'pip']
    fake_python(tmp_path, '').rename(tmp_path / 'uv')
    python = fake_python(tmp_path, r"""cat << 'EOF'
:env:.index-url='https://mirror/simple'
global.extra-index-url='\nfile:///a\nfile:///b'
global.index-url='https://other/simple'
global.cert='/etc/mine.crt'
install.no-index='true'
EOF""".replace('cat', '/bin/cat'))
    monkeypatch.setenv('SSL_CERT_FILE', '')
    monkeypatch.delenv('SSL_CERT_FILE')
    command = setup_env.pip_install(python)
    assert command[:6] == [
        f'{tmp_path}/uv', 'pip', 'install', '-q', '--python', python]
    assert ' '.join(command[8:]) == (
        '--index-url https://mirror/simple --extra-index-url file:///a '
        '--extra-index-url file:///b --no-index')
    assert os.environ['SSL_CERT_FILE'] == '/etc/mine.crt'


def test_one_opencv(tmp_path):
    """pip takes the stub for the opencv-python that MMEngine requires."""
    (tmp_path / 'opencv_python-4.0.dist-info').mkdir()
    setup_env.provide_opencv(tmp_path)
    (stub, ) = metadata.Distribution.discover(path=[str(tmp_path)])
    headless = setup_env.read_pin('opencv.txt', 'opencv-python-headless')
    assert (stub.name, stub.requires) == ('opencv-python', [headless])
    assert stub.version == headless.split('==')[1]
    assert all(file.locate().exists() for file in stub.files)
