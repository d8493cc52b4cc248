"""Versions that messages name."""
import pkgutil
import re
from types import SimpleNamespace

import pytest
from mmengine.model import revert_sync_batchnorm
from torch import nn

from mmlowformer.errors import UserError
from mmlowformer.export.requirements import need_pinned
from mmlowformer.utils import imports


def test_versions_are_those_of_the_requirements():
    assert imports.pinned('mmcv', 'onnxruntime', 'unknown') == (
        'mmcv==2.1.0 onnxruntime==1.31.1 unknown')


def test_constraints_are_looser_than_pins():
    assert imports.pinned('numpy', 'setuptools') == (
        '"numpy<2.4" "setuptools<81"')


@pytest.fixture
def python_3_14(monkeypatch):
    monkeypatch.setattr(imports, 'sys', SimpleNamespace(
        version_info=(3, 14, 0)))
    imports._requirements.cache_clear()
    yield
    imports._requirements.cache_clear()


def test_versions_for_this_python(python_3_14):
    assert imports._requirements()['executorch'] == ''
    assert imports.pinned('executorch') == 'executorch'
    assert imports.without_wheel('onnx', 'executorch', 'unknown') == [
        'executorch']
    with pytest.raises(UserError, match='executorch has no wheel for Python'):
        need_pinned('executorch.exir')


def test_all_conditions_on_python_are_understood():
    for file in (imports.PACKAGE.parent / 'requirements').glob('*.txt'):
        for line in file.read_text().splitlines():
            if ';' in line and not line.startswith('#'):
                assert re.fullmatch(
                    r'[^;]+; python_version (<|>=) "3\.\d+"', line)


@pytest.mark.parametrize(('condition', 'fits'), [
    ('>=3.10,<3.15', True), ('>=3.10,<3.14', False), ('>=3.15', False),
    (' python_version >= "3.14"', True), (' python_version < "3.14"', False),
    ('', True)])
def test_conditions_on_python(python_3_14, condition, fits):
    assert imports.fits_python(condition) == fits


def test_find_loader_is_there_again(monkeypatch):
    """As in Python 3.14, which does not have it."""
    monkeypatch.delattr(pkgutil, 'find_loader', raising=False)
    imports.provide_find_loader()
    assert pkgutil.find_loader('mmcv._ext')
    assert pkgutil.find_loader('no_such_module') is None
    revert_sync_batchnorm(nn.Sequential(nn.SyncBatchNorm(1)))


def test_names_remain_without_requirements(monkeypatch, tmp_path):
    imports._requirements.cache_clear()
    monkeypatch.setattr(imports, 'PACKAGE', tmp_path / 'mmlowformer')
    assert imports.pinned('mmcv') == 'mmcv'
    imports._requirements.cache_clear()


def test_a_missing_package_is_named_with_its_command():
    with pytest.raises(UserError, match='no_such_module is missing: pip '
                       'install mmcv==2.1.0'):
        imports.need('no_such_module', imports.pinned('mmcv'))
