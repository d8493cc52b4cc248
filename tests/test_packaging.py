import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mmlowformer

from .helpers import FORKS, ROOT

SETUP_WITHOUT_TORCH = """
import runpy, sys
sys.modules['torch'] = None
sys.argv = ['setup.py', '--version']
runpy.run_path('setup.py', run_name='__main__')
"""


def test_setup_does_not_import_torch(run_python):
    result = run_python('-c', SETUP_WITHOUT_TORCH, cwd=ROOT)
    assert result.stdout.strip() == '0.1.0', result.stderr


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """What git would hand out, in a copy, so that nothing is left behind."""
    source = tmp_path_factory.mktemp('source')
    files = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard', '-z'], cwd=ROOT,
        check=True, stdout=subprocess.PIPE, text=True).stdout.split('\0')
    for name in filter(None, files):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    return source


@pytest.fixture(scope='module')
def wheel(tmp_path_factory, source):
    folder = tmp_path_factory.mktemp('wheel')
    stale = source / 'build/lib/mmlowformer/stale.py'
    stale.parent.mkdir(parents=True)
    stale.touch()
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps',
         '--no-build-isolation', '-w', folder, source], check=True)
    return next(folder.glob('*.whl'))


def test_wheel_holds_configs_and_tools(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'requirements', 'tools'):
        for path in (ROOT / folder).rglob('*.*'):
            if path.suffix in ('.py', '.sh', '.txt', '.yml') and (
                    path.name not in ('mmcv_wheel.py', 'model_zoo.py',
                                      'setup_env.py')):
                name = f'mmlowformer/.mim/{path.relative_to(ROOT)}'
                assert name in names
    assert 'mmlowformer/.mim/model-index.yml' in names
    for name in ('index.html', 'page.css', 'page.js'):
        assert f'mmlowformer/serve/page/{name}' in names
    assert not any(name.startswith(('tests/', 'configs/')) for name in names)
    assert 'mmlowformer/stale.py' not in names


FIND_CONFIG = """
import sys
sys.path.insert(0, {site!r})
import mmlowformer
assert mmlowformer.__file__.startswith({site!r}), mmlowformer.__file__
path = mmlowformer.get_config_path('retinanet_lowformer_b2_coco')
assert path.startswith({site!r}), path
print(mmlowformer.get_config(path.split('/')[-1]).model.backbone.arch)
"""


def test_installed_package_finds_its_configs(wheel, tmp_path, run_forked):
    site = tmp_path / 'site'
    zipfile.ZipFile(wheel).extractall(site)
    result = run_forked(FIND_CONFIG.format(site=str(site)))
    assert result.stdout == 'b2\n', result.stderr


def _needed_by(*names):
    """Installed distributions that those named cannot do without."""
    found, waiting = {}, [Requirement(name) for name in names]
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        if name not in found and (
                needed.marker is None or needed.marker.evaluate()):
            found[name] = metadata.distribution(name)
            waiting += map(Requirement, found[name].requires or ())
    return found.values()


def _provide(path, target):
    if target.exists():
        return
    # OpenCV looks for itself by its real path.
    if path.name == 'cv2':
        shutil.copytree(path, target)
    else:
        target.symlink_to(path)


@pytest.fixture(scope='module')
def lite(tmp_path_factory, wheel):
    """An environment with torch, mmengine, mmcv-lite, pytest and the wheel."""
    site = tmp_path_factory.mktemp('lite') / 'site'
    version = metadata.version('mmcv')
    installed = subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps',
         '--no-build-isolation', '--target', site, wheel,
         f'mmcv-lite=={version}'], text=True, stderr=subprocess.PIPE)
    assert installed.returncode == 0, installed.stderr
    for distribution in _needed_by('torch', 'mmengine', 'pytest'):
        for name in {file.parts[0] for file in distribution.files or ()}:
            if name not in ('..', '__pycache__'):
                _provide(distribution.locate_file(name), site / name)
    return site


@pytest.mark.slow
@pytest.mark.skipif(FORKS, reason='the forks have no mmcv-lite')
def test_backbone_without_host_libraries(lite, tmp_path):
    """Its own tests pass, and its configs are found."""
    for name in ('models/__init__.py', 'models/test_lowformer.py',
                 '__init__.py'):
        (tmp_path / 'tests' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / 'tests' / name, tmp_path / 'tests' / name)

    def run(*arguments):
        # Without -S the packages of this environment would be found.
        return subprocess.run(
            [sys.executable, '-S', *arguments], cwd=tmp_path, text=True,
            env={**os.environ, 'PYTHONPATH': str(lite)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    for module in ('mmdet', 'mmseg', 'mmpretrain', 'torchvision', 'timm',
                   'mmcv.ops'):
        failed = run('-c', f'import {module}')
        assert failed.returncode == 1, module
        assert 'ModuleNotFoundError' in failed.stdout, failed.stdout
    found = run('-c', FIND_CONFIG.format(site=str(lite)))
    assert found.stdout == 'b2\n', found.stdout
    passed = run('-m', 'pytest', '-q', '--noconftest', '-p',
                 'no:cacheprovider', 'tests')
    assert passed.returncode == 0, passed.stdout
    assert re.search(r'\b[1-9]\d+ passed', passed.stdout), passed.stdout


@pytest.mark.slow
def test_source_distribution(source, tmp_path):
    """It holds all that git does, and a wheel can be built from it alone."""
    committed = {str(path.relative_to(source)) for path in source.rglob('*')
                 if path.is_file() and 'build' not in path.parts}
    subprocess.run(
        [sys.executable, '-c', 'from setuptools.build_meta import build_sdist;'
         f'build_sdist({str(tmp_path)!r})'], cwd=source, check=True)
    archive, = tmp_path.glob('*.tar.gz')
    with tarfile.open(archive) as file:
        inside = {name.partition('/')[2] for name in file.getnames()}
    assert committed <= inside
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps',
         '--no-build-isolation', '-w', tmp_path, archive], check=True)
    names = zipfile.ZipFile(next(tmp_path.glob('*.whl'))).namelist()
    assert 'mmlowformer/.mim/tools/train.py' in names
    assert 'mmlowformer/serve/page/index.html' in names


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith('METADATA'))
        lines = archive.read(name).decode().splitlines()
    needed = [line for line in lines if line.startswith('Requires-Dist')
              and 'extra' not in line]
    assert needed == ['Requires-Dist: torch>=2.1']
    extras = {line.split()[-1] for line in lines
              if line.startswith('Provides-Extra')}
    assert extras == {
        'openmmlab', 'det', 'seg', 'cls', 'onedl', 'serve', 'benchmark',
        'tests', 'export', 'ncnn', 'executorch', 'tflite', 'coreml', 'mot',
        'ray', 'tiff'}
    for extra in ('det', 'seg', 'cls', 'onedl'):
        for package in ('huggingface_hub>=', 'safetensors>='):
            assert any(
                line.startswith(f'Requires-Dist: {package}')
                and f'extra == "{extra}"' in line.replace("'", '"')
                for line in lines), extra
    assert 'License: Apache-2.0' in lines
    (python, ) = (line.split()[1] for line in lines
                  if line.startswith('Requires-Python'))
    assert set(python.split(',')) == {'>=3.10', '<3.15'}
    assert [line for line in lines if 'Python :: 3' in line] == [
        f'Classifier: Programming Language :: Python :: 3.{minor}'
        for minor in range(10, 15)]
    assert 'License-File: LICENSE' in lines


def test_one_version():
    version = mmlowformer.__version__
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == version
    assert f'\n## {version} (' in (ROOT / 'CHANGELOG.md').read_text()


def test_pre_commit_has_the_pinned_ruff():
    hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    (hook, ) = hooks['repos'][0]['hooks']
    pins = (ROOT / 'requirements' / 'tests.txt').read_text().splitlines()
    assert set(hook['additional_dependencies']) <= set(pins)
