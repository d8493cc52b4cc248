"""``python -m mmlowformer.doctor`` as a user runs it."""
import mmdet
import pytest

from ..helpers import FORKS, ROOT


def test_this_environment(run_python):
    result = run_python('-m', 'mmlowformer.doctor', 'detection')
    assert result.returncode == 0, result.stdout + result.stderr
    assert (f'ok  mmdet          {mmdet.__version__}, finds '
            'mmlowformer.LowFormer') in result.stdout
    assert 'All that detection needs works' in result.stdout
    assert not result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize('package', ['torch', 'mmengine', 'mmcv'])
def test_says_what_is_missing(run_python, tmp_path, monkeypatch, package):
    """Where importing mmlowformer fails, the doctor still runs."""
    for name in {'torch', package}:
        (tmp_path / f'{name}.py').write_text(
            f'raise ModuleNotFoundError("No module named \'{name}\'", '
            f'name={name!r})')
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}:{ROOT}')
    result = run_python('-c', 'from mmlowformer import LowFormer')
    assert result.returncode == 1
    result = run_python('-m', 'mmlowformer.doctor', 'backbone')
    assert result.returncode == 1, result.stderr
    assert f'--  {package:<14} not installed' in result.stdout
    # Of the family that is there; torch is of none.
    fork = 'onedl-' if FORKS and package != 'torch' else ''
    # In the project's own environment mmcv is built by the set-up.
    assert (f' {fork}{package}==' in result.stdout
            or (package == 'mmcv' and '&& make setup' in result.stdout))
    assert not result.stderr
