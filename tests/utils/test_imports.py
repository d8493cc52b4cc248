"""Versions that messages name."""
import pytest

from mmlowformer.errors import UserError
from mmlowformer.utils import imports


def test_versions_are_those_of_the_requirements():
    assert imports.pinned('mmcv', 'onnxruntime', 'unknown') == (
        'mmcv==2.1.0 onnxruntime==1.31.1 unknown')


def test_constraints_are_looser_than_pins():
    assert imports.pinned('numpy', 'setuptools') == (
        '"numpy<2.4" "setuptools<81"')


def test_names_remain_without_requirements(monkeypatch, tmp_path):
    imports._requirements.cache_clear()
    monkeypatch.setattr(imports, 'PACKAGE', tmp_path / 'mmlowformer')
    assert imports.pinned('mmcv') == 'mmcv'
    imports._requirements.cache_clear()


def test_a_missing_package_is_named_with_its_command():
    with pytest.raises(UserError, match='no_such_module is missing: pip '
                       'install mmcv==2.1.0'):
        imports.need('no_such_module', imports.pinned('mmcv'))
