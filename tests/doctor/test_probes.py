"""Libraries that are broken in one way or another, in place of real ones."""
import importlib.util
import subprocess
from pathlib import Path

import pytest

from mmlowformer.doctor import __main__ as command
from mmlowformer.doctor import environment, fixes, machine, probes
from mmlowformer.doctor.environment import Environment, run_probe

from ..helpers import FORKS

# The first step of the real thing would take seconds.
NO_TORCH = "raise ModuleNotFoundError(\"No module named 'torch'\")"


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    """Put packages in front of the installed ones."""
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))

    def write(**modules):
        for name, code in modules.items():
            package = tmp_path.joinpath(*name.split('__'))
            package.mkdir(parents=True, exist_ok=True)
            (package / '__init__.py').write_text(code)
        return tmp_path

    return write


def write_metadata(folder, distribution, version):
    info = folder / f'{distribution.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n')


@pytest.mark.parametrize(('code', 'error'), [
    ('import sys; sys.exit(3)', 'SystemExit: 3'),
    ("raise OSError('libcudnn.so.9: cannot open')",
     'OSError: libcudnn.so.9: cannot open'),
    ("assert False, 'first line\\nsecond'", 'AssertionError: first line'),
    ("print('no end of line', end=''); raise KeyError('x')",
     "KeyError: 'x'"),
    (NO_TORCH, "ModuleNotFoundError: No module named 'torch'")])
def test_broken_import_does_not_stop_the_rest(stubs, code, error):
    stubs(torch=code, mmengine="__version__ = '0.10.7'", mmcv=NO_TORCH)
    found = Environment(run_probe('stack'))
    assert found.error('torch') == error
    assert found['mmengine'] == '0.10.7'
    assert 'mmlowformer' in found.steps
    assert 'ops' in found.steps


@pytest.mark.parametrize(('code', 'error'), [
    ('import os, signal; os.kill(os.getpid(), signal.SIGSEGV)',
     'Segmentation fault (Python was killed)'),
    ('import os; os._exit(7)', 'Python ended with status 7')])
def test_crash_is_reported_with_what_it_prevented(
        stubs, code, error):
    stubs(torch=NO_TORCH, mmengine='', mmcv=code)
    found = Environment(run_probe('stack'))
    assert found.error('mmcv') == error
    assert found.crashed == 'mmcv'
    assert found.error('ops') == environment.NOT_REACHED


def test_hanging_import_is_reported(stubs, monkeypatch):
    monkeypatch.setattr(environment, 'TIME_LIMIT', 5)
    stubs(torch='import time; time.sleep(600)')
    found = Environment(run_probe('stack'))
    assert found.error('torch') == 'no end within 5 s'
    assert not found.error('versions')


def test_versions_are_those_of_the_probed_path(stubs):
    folder = stubs(torch=NO_TORCH, mmengine='', mmcv=NO_TORCH)
    write_metadata(folder, 'onedl-mmcv', '2.3.6')
    assert Environment(run_probe('stack')).versions['onedl-mmcv'] == '2.3.6'


def test_mmdet_asserts_versions(stubs):
    """OpenMMLab's does; its fork takes any mmcv."""
    stubs(mmcv="__version__ = '2.2.0'")
    found = Environment(run_probe('mmdet'))
    if FORKS:
        assert not found.error('mmdet')
    else:
        assert 'MMCV==2.2.0 is used but incompatible' in found.error('mmdet')


def test_error_in_a_multimodal_model(stubs):
    stubs(mmpretrain='', mmpretrain__models='from . import multimodal',
          mmpretrain__models__multimodal="raise TypeError('NoneType')")
    step = run_probe('mmpretrain')['mmpretrain.models']
    assert step.error == 'TypeError: NoneType'
    assert 'mmpretrain.models.multimodal' in step.modules


def test_where_mmlowformer_is_imported_from(stubs):
    folder = stubs(mmlowformer='', torch=NO_TORCH, mmengine=NO_TORCH,
                   mmcv=NO_TORCH)
    assert run_probe('stack')['installed'].value == str(folder / 'mmlowformer')


@pytest.mark.parametrize('tasks', [['backbone'], []])
def test_missing_is_reported(stubs, capsys, tasks):
    stubs(torch=NO_TORCH, mmcv=NO_TORCH, mmengine='',
          mmdet=NO_TORCH, mmseg=NO_TORCH, mmpretrain=NO_TORCH)
    assert command.main(tasks) == 1
    text = capsys.readouterr().out
    assert "--  torch          not installed\n     you see: ModuleNotFound" \
        in text
    assert '--  backbone       not checked: torch does not work' in text
    assert text.endswith(f'run:     {fixes.TORCH}\n')


def test_unknown_task(capsys):
    with pytest.raises(SystemExit) as error:
        command.main(['detecting'])
    assert error.value.code == 2
    assert "unknown task 'detecting': choose from backbone, detection" in \
        capsys.readouterr().err


NVIDIA_SMI = """#!/bin/sh
echo '| NVIDIA-SMI 550.54.15  Driver Version: 550.54.15  CUDA Version: 12.4 |'
"""


def test_driver(tmp_path, monkeypatch):
    monkeypatch.undo()
    file = tmp_path / 'nvidia-smi'
    file.write_text(NVIDIA_SMI)
    file.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/bin:/usr/bin')
    assert machine.driver() == dict(version='550.54.15', cuda='12.4')
    file.write_text('#!/bin/sh\nexit 9\n')
    assert machine.driver() is None


def test_free_space(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert machine.free_space(str(tmp_path)) > 0
    assert machine.free_space(str(tmp_path / 'none')) is None


@pytest.mark.parametrize('level', [0, 2])
def test_the_library_shows_whether_it_is_optimized(tmp_path, level):
    torch = Path(importlib.util.find_spec('torch').origin).parent
    code = ('#include <c10/core/Device.h>\n'
            'bool f(c10::Device d) { return d.type() == c10::kCPU; }')
    subprocess.run(
        ['c++', '-std=c++20', f'-O{level}', '-shared', '-fPIC', '-I',
         torch / 'include', '-x', 'c++', '-', '-o', tmp_path / 'ext.so'],
        input=code, text=True, check=True)
    assert probes.optimized(tmp_path / 'ext.so') == (level > 0)
