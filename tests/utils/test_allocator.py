"""Blocks that are freed stay with the process, unless a user has it so."""
import subprocess
import sys

import pytest

from mmlowformer.utils import allocator

# The pages of a block of 16 MiB fault when it is filled for the first time,
# and again each time that it was given back in between.
FAULTS = '''
import resource, runpy, sys
import numpy as np

kept = runpy.run_path(sys.argv[1])['keep_freed_memory']()
np.ones(2**21)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2**21)
after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(kept, after - before)
'''


def faults(**environment):
    answer = subprocess.run(
        [sys.executable, '-c', FAULTS, allocator.__file__], text=True,
        capture_output=True, check=True, env=environment)
    kept, count = answer.stdout.split()
    return kept == 'True', int(count)


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc')
def test_freed_memory_is_kept():
    kept, count = faults()
    assert kept
    assert count < 100


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc')
def test_the_environment_decides():
    kept, count = faults(MALLOC_MMAP_THRESHOLD_='1000000')
    assert not kept
    assert count > 1000
