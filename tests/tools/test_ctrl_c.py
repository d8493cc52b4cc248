"""Ctrl-C while a tool is still being imported."""
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
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            # A shell's background jobs, this test among them, may ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    ) as process:
        next(line for line in process.stderr if 'argparse' in line)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said = [line for line in process.stderr
                if not line.startswith('import time:')]
    assert process.returncode == 130
    assert ''.join(said).split() == ['Interrupted.']
