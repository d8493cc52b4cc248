import subprocess
import sys
import zipfile

import pytest
import yaml

import mmlowformer

from .conftest import ROOT

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
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    # From a copy of what git would hand out, so that nothing is left behind.
    source = folder / 'source'
    source.mkdir()
    files = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard', '-z'], cwd=ROOT,
        check=True, stdout=subprocess.PIPE, text=True).stdout.split('\0')
    for name in filter(None, files):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps',
         '--no-build-isolation', '-w', folder, source], check=True)
    return next(folder.glob('*.whl'))


def test_wheel_holds_configs_and_tools(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ('configs', 'tools'):
        for path in (ROOT / folder).rglob('*.*'):
            if path.suffix in ('.py', '.sh', '.yml') and path.name not in (
                    'mmcv_wheel.py', 'model_zoo.py', 'setup_env.py'):
                name = f'mmlowformer/.mim/{path.relative_to(ROOT)}'
                assert name in names
    assert 'mmlowformer/.mim/model-index.yml' in names
    assert not any(name.startswith(('tests/', 'configs/')) for name in names)


FIND_CONFIG = """
import sys
sys.path.insert(0, {site!r})
import mmlowformer
assert mmlowformer.__file__.startswith({site!r}), mmlowformer.__file__
path = mmlowformer.get_config_path('retinanet_lowformer_b2_coco')
assert path.startswith({site!r}), path
print(mmlowformer.get_config(path.split('/')[-1]).model.backbone.arch)
"""


def test_installed_package_finds_its_configs(wheel, tmp_path, run_python):
    site = tmp_path / 'site'
    zipfile.ZipFile(wheel).extractall(site)
    result = run_python('-c', FIND_CONFIG.format(site=str(site)))
    assert result.stdout == 'b2\n', result.stderr


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
        'openmmlab', 'det', 'seg', 'cls', 'onedl', 'benchmark', 'tests'}
    assert 'License: Apache-2.0' in lines
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
