"""The tests themselves."""
import os
import tempfile
from pathlib import Path

import torch

PROBE = """
import os, tempfile, torch
print(tempfile.gettempdir(), os.environ['OMP_NUM_THREADS'],
      torch.get_num_threads())
"""


def test_temporary_files_and_threads(run_python, temporary_folder):
    """What forgotten processes leave behind goes with the session's folder."""
    assert Path(tempfile.gettempdir()) == temporary_folder
    assert Path(os.environ['TMPDIR']) == temporary_folder
    assert torch.get_num_threads() == 1
    result = run_python('-c', PROBE)
    assert result.stdout == f'{temporary_folder} 1 1\n', result.stderr
