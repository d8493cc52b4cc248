"""Which formats models can be exported to."""
from types import SimpleNamespace

from mmlowformer.export.formats import FORMATS
from mmlowformer.export.requirements import INT8_PACKAGES, PACKAGES
from mmlowformer.utils import imports
from mmlowformer.utils.imports import pinned

from ..helpers import ROOT
from .conftest import describe, judge

# Some have no wheels for the newest Python.
PINS = dict(pinned(name).split('==') for needs in (
    *PACKAGES.values(), *INT8_PACKAGES.values()) for name in needs
    if not imports.without_wheel(name))


def formats(**versions):
    found, problems = judge(describe(['export'], {**PINS, **versions}))
    assert not problems
    return found


def test_all_packages_are_there():
    found = formats()
    for name, needs in PACKAGES.items():
        assert found[name].status == (
            'missing' if imports.without_wheel(*needs) else 'ok')
    assert found['onnx'].text == 'can be exported and verified'
    assert found['coreml'].text == 'can be converted, not verified'


def test_a_line_installs_what_is_missing():
    found = formats(onnxscript=None, onnxruntime=None)
    assert found['onnx'].status == 'missing'
    assert found['onnx'].remedy == (
        'pip install onnxscript==0.7.2 onnxruntime==1.31.1')
    assert found['openvino'].remedy == 'pip install onnxscript==0.7.2'
    assert found['ncnn'].status == 'ok'


def test_another_version_is_named():
    found = formats(openvino='2026.5.0')['openvino']
    assert found.status == 'warning'
    assert found.remedy == 'pip install openvino==2026.4.1'


def test_what_is_tried_may_have_another_version():
    env = describe(['export'], {**PINS, 'executorch': '1.5.1'},
                   executorch=None)
    assert judge(env)[0]['executorch'].status == 'ok'


def test_what_fails_with_this_torch_is_reported():
    env = describe(['export'], {**PINS, 'executorch': '1.5.1'},
                   {'executorch': 'ImportError: undefined symbol'})
    found = judge(env)[0]['executorch']
    assert found.status == 'warning'
    assert found.symptom == 'ImportError: undefined symbol'
    assert found.remedy == f'pip install {pinned("torch", "executorch")}'


def test_a_package_without_wheel_is_named(monkeypatch):
    monkeypatch.setattr(imports, 'sys', SimpleNamespace(
        version_info=(3, 14, 0)))
    imports._requirements.cache_clear()
    found = formats(executorch=None)['executorch']
    imports._requirements.cache_clear()
    assert found.text == 'no wheel for this Python: executorch'
    assert found.remedy == 'conda create -n lowformer python=3.11'


def test_only_asked_for():
    assert 'coreml' not in judge(describe())[0]


def test_versions_are_those_of_the_requirements():
    lines = (ROOT / 'requirements/export.txt').read_text().splitlines()
    pins = {line.split(';')[0] for line in lines}
    assert {f'{name}=={version}' for name, version in PINS.items()} <= pins
    assert set(PACKAGES) == set(FORMATS)
