"""The tests themselves."""
import ast
import os
import tempfile
from collections import Counter
from pathlib import Path

import torch

from .helpers import ROOT

PROBE = """
import os, tempfile, torch
print(tempfile.gettempdir(), os.environ['OMP_NUM_THREADS'],
      torch.get_num_threads())
"""


def test_temporary_files_and_threads(run_forked, temporary_folder):
    """What forgotten processes leave behind goes with the session's folder."""
    assert Path(tempfile.gettempdir()) == temporary_folder
    assert Path(os.environ['TMPDIR']) == temporary_folder
    assert torch.get_num_threads() == 1
    result = run_forked(PROBE)
    assert result.stdout == f'{temporary_folder} 1 1\n', result.stderr


# Up to the Runner, which builds what the config names.
LOADED = """
import runpy, sys
from mmengine.config import Config
from mmengine.runner import Runner

def read(*args, fromfile=Config.fromfile):
    early.append(' '.join(sys.modules))
    return fromfile(*args)

early = []
Config.fromfile = read
Runner.from_cfg = lambda cfg: sys.exit()
sys.path.insert(0, {folder!r})
sys.argv = ['train.py', *{arguments!r}]
try:
    runpy.run_path({tool!r}, run_name='__main__')
finally:
    print('LOADED', early[0], 'LOADED', *sys.modules)
"""


def test_training_loads_no_other_job(run_python, shapes, tmp_path):
    """Count modules of mmlowformer, packages and itself included."""
    tool = ROOT / 'tools/train.py'
    result = run_python('-c', LOADED.format(
        tool=str(tool), folder=str(tool.parent), arguments=(
            'retinanet_lowformer_b0_shapes', '--cfg-options',
            f'data_root={shapes / "coco"}')))
    assert result.returncode == 0, result.stderr
    _, early, late = result.stdout.split('LOADED ')
    assert not {'matplotlib', 'torchvision', 'mmdet'} & set(early.split())
    modules = late.split()
    own = [name for name in modules if name.startswith('mmlowformer')]
    assert len(own) <= 40, own
    assert {'mmlowformer.datasets.checks.coco', 'mmlowformer.models.lowformer',
            'mmlowformer.engine.runner'} <= set(own)
    folders = {name.split('.')[1] for name in own if '.' in name}
    assert not folders & {
        'analysis', 'benchmark', 'deployment', 'export', 'predict', 'runtime',
        'serve', 'study', 'tracking', 'visualization'}
    assert not [name for name in own if '.hooks' in name]
    # MMDetection's data sets, which the checks look up, bring matplotlib.
    assert 'torchvision' not in modules


def project_packages(tool):
    """The packages of mmlowformer that a tool imports."""
    for node in ast.walk(ast.parse(tool.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            project, *parts = node.module.split('.')
            if project == 'mmlowformer':
                yield from parts[:1] or (
                    name.name for name in node.names
                    if (ROOT / 'mmlowformer' / name.name).is_dir())


def test_a_tool_imports_three_packages_at_most():
    for tool in (ROOT / 'tools').glob('*.py'):
        packages = set(project_packages(tool))
        assert len(packages) <= 3, f'{tool.name}: {packages}'


def test_files_and_folders_stay_small():
    for folder in ('mmlowformer', 'tools'):
        files = list((ROOT / folder).rglob('*.py'))
        for file in files:
            assert len(file.read_text().splitlines()) <= 400, file
        for parent, count in Counter(file.parent for file in files).items():
            assert count <= 16 or parent.name == 'tools', parent
