"""Ways to convolve are timed once on a machine."""
import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from mmlowformer.ops import conv_autotune
from mmlowformer.ops.conv_autotune import (
    use_winograd_by_measurement as by_measurement,
)
from mmlowformer.ops.conv_heuristics import (
    use_winograd_by_heuristic as by_heuristic,
)
from mmlowformer.utils.files import cache_file

LARGE = (128, 64, 1, 32, 32)


@pytest.fixture
def timed(monkeypatch, tmp_path):
    """Direct takes twice as long; the sizes that were timed."""
    seen = []

    def time_algorithms(size):
        seen.append(tuple(size))
        return dict(direct=2., winograd=1.)

    monkeypatch.setattr(conv_autotune, 'time_algorithms', time_algorithms)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    forget()
    yield seen
    forget()


def forget():
    conv_autotune._was_faster.cache_clear()
    conv_autotune._load.cache_clear()
    conv_autotune._is_writable.cache_clear()


def test_timed_once(timed):
    assert by_measurement(*LARGE)
    assert by_measurement(*LARGE)
    # Of another process.
    forget()
    assert by_measurement(*LARGE)
    # Nearly as many tiles.
    assert by_measurement(128, 64, 1, 36, 36)
    assert timed == [(*LARGE, torch.float32)]
    by_measurement(128, 64, 1, 64, 64)
    assert len(timed) == 2


def test_what_is_kept(timed):
    by_measurement(*LARGE)
    (machine, times), = json.loads(
        cache_file(conv_autotune.FILE).read_text()).items()
    assert f'torch {torch.__version__}' in machine
    assert f'{torch.get_num_threads()} threads' in machine
    assert times == {'128 to 64 channels, 64 tiles, float32':
                     dict(direct=2., winograd=1.)}


@pytest.mark.parametrize(('side', 'seconds', 'faster'), [
    (32, 1.05, True), (32, 0.95, False),
    (16, 1.05, False), (16, 1.2, True)])
def test_a_little_is_not_enough_for_few_tiles(timed, monkeypatch, side,
                                              seconds, faster):
    monkeypatch.setattr(conv_autotune, 'time_algorithms', lambda size: dict(
        direct=seconds, winograd=1.))
    assert by_measurement(128, 64, 1, side, side) == faster


def test_types_are_told_apart(timed):
    by_measurement(*LARGE)
    by_measurement(*LARGE, torch.bfloat16)
    assert timed == [(*LARGE, dtype)
                     for dtype in (torch.float32, torch.bfloat16)]
    assert not by_heuristic(*LARGE, torch.bfloat16)


def test_threads_are_told_apart(timed):
    threads = torch.get_num_threads()
    by_measurement(*LARGE)
    torch.set_num_threads(threads + 1)
    try:
        by_measurement(*LARGE)
    finally:
        torch.set_num_threads(threads)
    assert len(timed) == 2


def test_other_processes_are_not_forgotten(timed):
    by_measurement(*LARGE)
    file = cache_file(conv_autotune.FILE)
    content = json.loads(file.read_text())
    content['another machine'] = {'some': dict(direct=1., winograd=2.)}
    file.write_text(json.dumps(content))
    by_measurement(128, 32, *LARGE[2:])
    assert 'another machine' in json.loads(file.read_text())


@pytest.mark.parametrize('content', ['', '{', '[]', '{"x": 1}',
                                     '{"x": {"y": {"direct": "a"}}}',
                                     '{"x": {"y": [1.0]}}', '{"x": [[]]}',
                                     '"\\ud800"', '[' * 100_000, '1' * 9999,
                                     '{"x":' * 100_000])
def test_a_broken_file(timed, content):
    file = cache_file(conv_autotune.FILE)
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert by_measurement(*LARGE)
    forget()
    assert by_measurement(*LARGE)
    assert len(timed) == 1


def loop(file):
    file.symlink_to(file)


@pytest.mark.parametrize('make', [
    os.mkfifo, os.mkdir, loop, lambda file: file.symlink_to('/dev/zero'),
    lambda file: file.symlink_to('nothing'),
    lambda file: file.write_bytes(b'\xff')])
def test_no_file_in_its_place(timed, make):
    """It is replaced, not followed, but for a folder, which stays."""
    file = cache_file(conv_autotune.FILE)
    file.parent.mkdir(parents=True)
    make(file)
    with (pytest.warns(UserWarning, match='Is a directory')
          if file.is_dir() else nullcontext()):
        assert by_measurement(*LARGE)
        forget()
        assert by_measurement(*LARGE)
    assert len(timed) == 1 + file.is_dir()
    assert os.listdir(file.parent) == [file.name]


def test_a_link_is_replaced(timed, tmp_path):
    file, other = cache_file(conv_autotune.FILE), tmp_path / 'precious.json'
    file.parent.mkdir(parents=True)
    other.write_text('{"precious": {}}')
    file.symlink_to(other)
    assert by_measurement(*LARGE)
    assert other.read_text() == '{"precious": {}}'
    assert not file.is_symlink()


@pytest.mark.parametrize('error', [OSError, KeyboardInterrupt])
def test_nothing_is_left_of_what_cannot_be_written(timed, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(conv_autotune.json, 'dump', fail)
    with (pytest.warns(UserWarning, match='XDG_CACHE_HOME')
          if error is OSError else pytest.raises(KeyboardInterrupt)):
        assert by_measurement(*LARGE)
    assert not os.listdir(cache_file(conv_autotune.FILE).parent)


def test_without_a_home(timed, monkeypatch):
    def home():
        raise RuntimeError('Could not determine home directory.')

    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setattr(Path, 'home', home)
    with pytest.warns(UserWarning, match='XDG_CACHE_HOME'):
        assert by_measurement(*LARGE) == by_heuristic(*LARGE)
    assert not timed


@pytest.mark.parametrize('height', [8, 32])
def test_nowhere_to_write(timed, monkeypatch, tmp_path, height):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    size = (128, 64, 1, height, height)
    with pytest.warns(UserWarning, match='file.*XDG_CACHE_HOME') as warned:
        chosen = [by_measurement(*each) for each in (size, LARGE)]
    assert chosen == [by_heuristic(*size), True] == [height == 32, True]
    assert len(warned) == 1
    assert not timed


def test_deterministic(timed):
    torch.use_deterministic_algorithms(True)
    try:
        assert by_measurement(*LARGE)
        assert not by_measurement(64, *LARGE[1:])
    finally:
        torch.use_deterministic_algorithms(False)
    assert not timed


def test_small_ones_are_not_timed(timed):
    assert not by_measurement(16, 64, 1, 64, 64)
    assert not by_measurement(512, 512, 1, 4, 8)
    assert not timed


def test_times():
    size = conv_autotune.ConvSize(32, 16, 1, 12, 12)
    seconds = conv_autotune.time_algorithms(size)
    assert list(seconds) == ['direct', 'winograd']
    assert all(0 < value < 1 for value in seconds.values())


@pytest.mark.parametrize(('dtype', 'tolerance'),
                         [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
def test_both_ways_compute_the_same(dtype, tolerance):
    size = conv_autotune.ConvSize(32, 16, 2, 12, 9, dtype)
    ways = conv_autotune._algorithms(size)
    with torch.no_grad():
        direct, winograd = ways['direct'](), ways['winograd']()
    assert direct.dtype == winograd.dtype == dtype
    torch.testing.assert_close(direct, winograd, rtol=tolerance,
                               atol=tolerance)
