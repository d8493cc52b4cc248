"""Models in processes of their own, some of which die."""
import multiprocessing
import sys

import pytest

from mmlowformer.benchmark import report
from mmlowformer.benchmark.models import find_models
from mmlowformer.benchmark.options import Settings
from mmlowformer.benchmark.run import benchmark
from mmlowformer.engine import UserError

from ..helpers import TINY_SEGMENTOR
from .test_resume import Interrupting
from .test_run import RecordedProgress

SETTINGS = dict(shape=(32, 32), batch_size=2, min_time=0.01, repeats=3,
                warm_up_calls=1, warm_up_time=0)
MODULE = '''
import ctypes
import os
import signal
import torch
from torch import nn


class Net(nn.Conv2d):
    """Ends in its calls from this one on."""

    def __init__(self, end=None, last=0):
        super().__init__(3, 8, 8, 8)
        self.end, self.last, self.calls = end, last, 0

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        self.calls += 1
        if self.end and self.calls > self.last:
            self.end()
        return super().forward(x)


def small():
    raise torch.OutOfMemoryError('more than there is')


good = Net
raising = lambda: Net(lambda: 1 / 0, 4)
segv = lambda: Net(lambda: ctypes.string_at(0), 4)
early = lambda: Net(os.abort)
killed = lambda: Net(lambda: os.kill(os.getpid(), signal.SIGKILL), 4)
exits = lambda: Net(lambda: os._exit(3), 4)
'''


pytestmark = pytest.mark.usefixtures('fork_server')


@pytest.fixture
def isolated(tmp_path, monkeypatch):
    """Measure models of a module in the current folder."""
    (tmp_path / 'crashing.py').write_text(MODULE)
    monkeypatch.setattr(sys, 'path', [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, 'crashing', raising=False)

    def run(*names, progress=None, path=None, **settings):
        return benchmark(
            find_models([f'crashing:{name}' for name in names]),
            Settings(**SETTINGS | settings), progress=progress, path=path,
            isolate=True)

    yield run
    assert multiprocessing.active_children() == []


def test_a_crash_costs_one_model(isolated):
    said = RecordedProgress()
    record = isolated('segv', 'good', 'early', 'killed', 'raising', 'exits',
                      'good@channels_last', progress=said, profiled_calls=1)
    failures = [row['failure'] for row in record['rows']]
    for failure, words in zip(failures, (
            'SIGSEGV', None, 'SIGABRT', 'SIGKILL, perhaps as memory ran out',
            'ZeroDivisionError', 'exited with status 3', None)):
        assert words in failure if words else failure is None
    assert record['complete']
    for row in (record['rows'][1], record['rows'][6]):
        assert row['turns'] == 3
        assert row['errors'] == [0]
        assert row['memory']['rss'] >= 0
        assert row['profile'][0]['operator'].startswith('conv2d')
    assert said.steps == said.announced
    assert len(report.table_rows(record)) == 7


def test_ctrl_c_and_continued(isolated, tmp_path):
    path = tmp_path / 'a.json'
    # Two are built; a round are two models and the peak.
    part = isolated('good', 'good@channels_last', path=path,
                    progress=Interrupting(2 + 4))
    assert (part['complete'], part['rounds']) == (False, 1)
    record = isolated('good', 'good@channels_last', path=path)
    assert record['complete']
    assert [row['turns'] for row in record['rows']] == [3, 3]
    with pytest.raises(UserError, match='isolated: True instead of False'):
        benchmark(find_models(['crashing:good', 'crashing:good@channels_last'
                               ]), Settings(**SETTINGS), path=path)


def test_out_of_memory_halves_the_batch(isolated):
    said = RecordedProgress()
    with pytest.raises(UserError, match='out of memory with a single image'):
        isolated('good', 'small', progress=said)
    assert len(said.messages) == 1


@pytest.mark.slow
def test_training_steps_of_a_full_model(tmp_path):
    file = tmp_path / 'seg.py'
    file.write_text(TINY_SEGMENTOR)
    row, = benchmark(
        find_models([f'{file}@fused'], full_model=True), Settings(
            **SETTINGS | dict(mode='train', shape=(64, 64))),
        isolate=True)['rows']
    assert row['failure'] is None
    assert row['steps'][:2] == ['build', 'fused']
