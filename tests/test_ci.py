"""The workflow of GitHub, and the Dockerfile that it builds."""
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from .helpers import ROOT

REQUIREMENTS = ROOT / 'requirements'
README = (ROOT / 'README.md').read_text(encoding='utf-8')
PYTHONS = Requirement((REQUIREMENTS / 'python.txt').read_text(
    encoding='utf-8').splitlines()[-1]).specifier
JOBS = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text(
    encoding='utf-8'))['jobs']
MATRIX = JOBS['test']['strategy']['matrix']
DOCKERFILE = (ROOT / 'Dockerfile').read_text(encoding='utf-8')
# A line for each instruction.
INSTRUCTIONS = re.sub(r'^#.*\n', '', DOCKERFILE, flags=re.M).replace(
    '\\\n', ' ').splitlines()
IGNORED = (ROOT / '.dockerignore').read_text(encoding='utf-8').splitlines()
CONTEXT = [line[1:] for line in IGNORED if line.startswith('!')]


def test_pythons_of_the_workflow_are_in_the_range():
    versions = [*MATRIX['python'],
                *(job['python'] for job in MATRIX['include'])]
    assert len(set(versions)) == 3
    for version in versions:
        # 3.10 without quotes would be the number 3.1.
        assert isinstance(version, str)
        assert version in PYTHONS


def _version(requirement):
    (pin, ) = requirement.specifier
    assert pin.operator == '=='
    return Version(pin.version)


def test_the_workflow_tests_an_older_torch_than_the_pinned():
    """Change the workflow, too, if you change requirements/torch.txt."""
    lines = (REQUIREMENTS / 'torch.txt').read_text(encoding='utf-8')
    pinned = re.sub('^#.*', '', lines, flags=re.M).split()
    (other, ) = filter(None, MATRIX['torch'])
    for name, old, new in zip(['torch', 'torchvision'], other.split(), pinned,
                              strict=True):
        old, new = Requirement(old), Requirement(new)
        assert old.name == new.name == name
        assert _version(old) < _version(new)


def test_the_workflow_runs_all_of_ci():
    assert JOBS['test']['steps'][-1]['env'] == dict(PYTHON='python')
    assert 'bash .ci/run' in [job['run'] for job in MATRIX['include']]


def test_the_workflow_builds_the_image_as_the_docs_say():
    page = (ROOT / 'docs/get_started.md').read_text(encoding='utf-8')
    section = page.split('### In a container')[1].replace('\\\n', '')
    for step in JOBS['container']['steps'][1:]:
        assert ' '.join(step['run'].split()) in ' '.join(section.split())


def arguments(instruction):
    return [line.split()[1:] for line in INSTRUCTIONS
            if line.startswith(f'{instruction} ')]


def test_an_image_has_the_packages_of_the_readme():
    named = re.search(r'apt-get install (.*)', README)[1].split()
    (line, ) = [line for line in INSTRUCTIONS if 'apt-get install' in line]
    installed = re.search(r'apt-get install (.*?)&&', line)[1].split()
    assert [name for name in installed if name[0] != '-'] == named
    # Such as libraries of a desktop.
    assert '--no-install-recommends' in installed


def test_pythons_of_the_images_are_in_the_range():
    """Those that the base images have."""
    bases = [base for base, *alias in arguments('FROM') if alias]
    assert len(bases) == 2
    for base, (name, version) in zip(bases, [('debian:13', '3.13'),
                                             ('ubuntu24.04', '3.12')]):
        assert name in base
        assert f'# Python {version}' in DOCKERFILE
        assert version in PYTHONS


def test_an_image_is_made_as_an_ordinary_user():
    root, user = DOCKERFILE.split('\nUSER lowformer\n')
    assert 'apt-get' in root
    assert 'make setup' in user
    assert 'apt-get' not in user


@pytest.fixture
def context(tmp_path):
    """A folder with what Docker copies."""
    assert IGNORED[1] == '*'
    for name in CONTEXT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_what_is_copied_is_there(context):
    for _, *sources, _ in arguments('COPY'):
        for source in sources:
            assert (context / source).exists(), source


def test_set_up_and_demo_find_their_files(context):
    commands = subprocess.run(
        ['make', '-n', 'demo', 'PYTHON=python'], cwd=context, check=True,
        capture_output=True, text=True).stdout
    files = re.findall(r'(?:tools|configs)/\w+\.py', commands)
    assert len(files) == 6
    for file in files:
        assert (context / file).exists(), file
    subprocess.run([sys.executable, 'setup.py', '--version'], cwd=context,
                   check=True, capture_output=True)
