"""Ctrl-C and missing packages while a tool is still being imported."""
import os
import signal
import subprocess
import sys
import time

import pytest

from ..helpers import ROOT

# These import nothing that takes long.
WITHOUT = '_ctrl_c', 'make_shapes', 'mmcv_wheel', 'setup_env'
TOOLS = sorted(file for file in (ROOT / 'tools').glob('*.py')
               if file.stem not in WITHOUT)


@pytest.mark.parametrize('tool', TOOLS, ids=lambda tool: tool.stem)
def test_importing(tool):
    with subprocess.Popen(
            [sys.executable, '-X', 'importtime', tool, '--help'], text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        next(line for line in process.stderr if 'argparse' in line)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said = [line for line in process.stderr
                if not line.startswith('import time:')]
    assert process.returncode == 130
    assert ''.join(said).split() == ['Interrupted.']


def start(tmp_path, code, *arguments):
    """Run a tool after some code."""
    (tmp_path / 'sitecustomize.py').write_text(code)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    return subprocess.run(
        [sys.executable, ROOT / 'tools' / 'data.py', *arguments], text=True,
        env={**os.environ, 'PYTHONPATH': path}, capture_output=True)


def test_without_torchvision(tmp_path):
    code = "import sys; sys.modules['torchvision'] = None"
    result = start(tmp_path, code, 'config', 'boxes', 'mine')
    assert result.returncode == 1
    assert result.stderr == (
        'data.py: error: torchvision is not installed: "python -m '
        'mmlowformer.doctor" says how to install it\n')


def test_a_missing_part_of_a_package_has_a_traceback(tmp_path):
    code = "import sys; sys.modules['mmlowformer.engine'] = None"
    result = start(tmp_path, code)
    assert result.returncode == 1
    assert 'Traceback' in result.stderr
