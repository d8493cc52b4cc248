"""mmcv's own ops do what torchvision's do."""
import subprocess
import sys

import pytest
import torch
from mmcv import ops

from mmlowformer.errors import UserError

from ..helpers import ROOT

sys.path.insert(0, str(ROOT / 'tools'))
import benchmark_ops


def test_outputs_are_torchvisions():
    torch.manual_seed(1)
    comparisons = benchmark_ops.comparisons(ops, 500, 'cpu')
    assert len(comparisons) == 4
    for comparison in comparisons:
        comparison.check()


def test_other_outputs_are_named():
    wrong = benchmark_ops.Comparison(
        'nms', lambda: torch.tensor([1, 2]), lambda: torch.tensor([1, 3]))
    with pytest.raises(UserError, match='nms: outputs differ by 3.3e-01'):
        wrong.check()


def test_the_tool_names_what_is_slow():
    result = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'benchmark_ops.py', '--boxes', '100',
         '--repeats', '1', '--turn', '0', '--max-ratio', '1e-6', '--cpu-time'],
        capture_output=True, text=True)
    assert result.returncode == 1
    assert 'nms of 100 boxes' in result.stdout
    assert "more than 1e-06 times torchvision's: nms" in result.stderr
