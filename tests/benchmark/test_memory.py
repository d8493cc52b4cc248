import sys

import pytest
import torch

from mmlowformer.benchmark.memory import PeakMemory


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_peak_on_a_cpu():
    """What was used in between counts, what was used before does not."""
    large = torch.ones(100, 2**20)
    del large
    memory = PeakMemory('cpu')
    for megabytes in (10, 100, 10):
        torch.ones(megabytes, 2**18)
    peak = memory.read()['rss'] / 2**20
    assert 80 < peak < 200
