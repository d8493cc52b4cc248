import sys

import pytest

from mmlowformer.doctor import machine
from mmlowformer.doctor.checks import run_checks
from mmlowformer.doctor.environment import PACKAGE, Environment, Step

VERSIONS = dict(
    torch='2.12.1', torchvision='0.27.1', mmengine='0.10.7', mmcv='2.1.0',
    mmdet='3.3.0', mmsegmentation='1.2.2', mmpretrain='1.2.0', numpy='2.2.6',
    setuptools='80.9.0', safetensors='0.8', timm='1.0',
    **{'huggingface-hub': '1.0'},
    onnx='1.23', onnxruntime='1.31', openvino='2026.4')
STEPS = {
    'installed': str(PACKAGE), 'pkg_resources': '', 'numpy': '2.2.6',
    'numpy.in1d': True,
    'torch': '2.12.1+cu130', 'torch and numpy': 3,
    'gpu': dict(cuda='13.0', available=False, warning=''),
    'gpu computes': None, 'distributed': True, 'torchvision': '0.27.1+cu130',
    'mmengine': '0.10.7', 'cv2': '5.0.0',
    'mmcv': '2.1.0', 'mmlowformer': '0.1.0', 'forward': [], 'configs': '',
    'pretrained': True, 'checkpoint': True, 'mmcv._ext': '', 'ops': True,
    'ops on gpu': None, 'load': 0.}
LIBRARY_VERSIONS = dict(mmdet='3.3.0', mmseg='1.2.2', mmpretrain='1.2.0')
A_GPU = dict(cuda='13.0', available=True, warning='', name='NVIDIA X',
             count=1, capability=[9, 0])


def library_steps(library, version):
    return {library: version, f'{library} look-up': 'LowFormer',
            f'{library} base': True,
            **{f'{library}.{part}': '' for part in (
                'models', 'datasets', 'evaluation')}}


def describe(tasks=(), versions=(), errors=(), modules=(), **values):
    """An environment in which everything works except for what is named.

    Args:
        tasks: What it is for.
        versions: Distributions in place of those that are there; None for
            one that is not.
        errors: By step, what it raised.
        modules: By step, modules that its error passed through.
        values: By step with underscores for spaces, what it found.
    """
    installed = {**VERSIONS, **dict(versions)}
    found = {'versions': {name: version for name, version
                          in installed.items() if version}, **STEPS}
    for library, version in LIBRARY_VERSIONS.items():
        found.update(library_steps(library, version))
    for name, value in values.items():
        found[name.replace('_', ' ')] = value
    steps = {name: Step(value) for name, value in found.items()}
    for name, error in dict(errors).items():
        steps[name] = Step(
            error=error, modules=dict(modules).get(name, []))
    return Environment(steps, tasks)


def judge(env):
    """Results by name, and the names of those that a task fails of."""
    found = list(run_checks(env))
    return ({name: result for name, result, _ in found},
            [name for name, _, fails in found if fails])


@pytest.fixture(autouse=True)
def _machine_without_surprises(monkeypatch):
    """Room everywhere and no driver, wherever this runs."""
    monkeypatch.setattr(sys, 'prefix', '/elsewhere/.venv')
    monkeypatch.setattr(machine, 'free_space', lambda path: 100.)
    monkeypatch.setattr(machine, 'driver', lambda: None)
    monkeypatch.setattr(machine, 'compile_error', lambda standard: '')
    monkeypatch.setattr(machine, 'DOCKER_MARK', '/nowhere')
    monkeypatch.setattr('shutil.which', lambda name, **kwargs: None
                        if name == 'nvidia-smi' else f'/bin/{name}')
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
