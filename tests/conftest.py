import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmlowformer.shapes import make_dataset

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A tiny generated data set."""
    root = tmp_path_factory.mktemp('data') / 'shapes'
    make_dataset(root, train=4, val=2, size=64)
    return root


@pytest.fixture
def run_python(tmp_path):
    """Run Python as a user does, in a folder that is not the checkout."""

    def run(*arguments, **kwargs):
        kwargs.setdefault('cwd', tmp_path)
        return subprocess.run(
            [sys.executable, *map(str, arguments)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600,
            **kwargs)

    return run
