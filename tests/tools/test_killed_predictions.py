"""Three shards of a prediction, killed at random moments and resumed.

See tests/predict for a single process, and for shards of images.
"""
import multiprocessing
import random
import shutil
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmlowformer.benchmark.scale import cases

from ..helpers import PREDICT, run_tool

CONTEXT = multiprocessing.get_context('fork')
KILLS, PROCESSES = 10, 3


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    """Scenes and videos."""
    folder = tmp_path_factory.mktemp('inputs')
    noise = np.random.default_rng(0)
    (folder / 'scenes').mkdir()
    for number in range(6):
        Image.fromarray(noise.integers(0, 256, (500, 700, 3), np.uint8)).save(
            folder / f'scenes/{number}.png')
    (folder / 'videos').mkdir()
    for number in range(4):
        video = cv2.VideoWriter(
            str(folder / f'videos/{number}.mp4'),
            cv2.VideoWriter.fourcc(*'mp4v'), 25, (64, 64))
        for _ in range(20):
            video.write(noise.integers(0, 256, (64, 64, 3), np.uint8))
        video.release()
    return folder


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    """Networks that take no time, by their tasks."""
    folder = tmp_path_factory.mktemp('networks')
    for task in ('boxes', 'masks'):
        (folder / task).mkdir()
    cases.write_detector(folder / 'boxes')
    cases.write_segmentor(folder / 'masks')
    return folder


def start(*arguments, cwd):
    """Start the tool in a fork, which need not import torch."""
    def run():
        result = run_tool(PREDICT, *arguments, cwd=cwd)
        print(result.stdout)
        raise SystemExit(result.returncode)

    process = CONTEXT.Process(target=run)
    process.start()
    return process


def files_in(folder):
    """The content of each file; encoders of videos are not exact."""
    return {file.relative_to(folder): file.read_bytes()
            for file in Path(folder).rglob('*')
            if file.is_file() and file.suffix != '.mp4'
            and not file.name.startswith('.')}


def frames_of(video):
    capture, count = cv2.VideoCapture(str(video)), 0
    while capture.read()[0]:
        count += 1
    return count


def run(command, cwd, moment=None, seconds=0.):
    """Run three shards, or kill each at a random moment; count the kills."""
    shards = [('--shard', f'{number}/{PROCESSES}')
              for number in range(1, 1 + PROCESSES)]
    started = [start(*command, *shard, cwd=cwd) for shard in shards]
    for process in started:
        if moment:
            process.join(moment.uniform(0.2, 1) * seconds)
            process.kill()
        process.join()
    codes = [process.exitcode for process in started]
    assert set(codes) <= {0, -signal.SIGKILL}
    return len(codes) - codes.count(0)


@pytest.mark.slow
@pytest.mark.parametrize(('task', 'source', 'options'), [
    ('boxes', 'videos', []), ('masks', 'scenes', ['--tile-size', 128])])
def test_kills_lose_and_repeat_nothing(inputs, networks, tmp_path, task,
                                       source, options):
    command = [networks / task / 'network.pth', inputs / source, '--config',
               networks / task / 'network.py', '--device', 'cpu', *options,
               '--resume', '--out']
    started = time.perf_counter()
    process = start(*command, 'whole', cwd=tmp_path)
    process.join()
    assert process.exitcode == 0
    seconds = time.perf_counter() - started
    whole = files_in(tmp_path / 'whole')
    moment, kills = random.Random(0), 0
    while kills < KILLS:
        while kills < KILLS and (killed := run(
                [*command, 'killed'], tmp_path, moment, seconds)):
            kills += killed
        assert not run([*command, 'killed'], tmp_path)
        assert files_in(tmp_path / 'killed') == whole
        for video in (tmp_path / 'killed').rglob('*.mp4'):
            assert frames_of(video) == 20
        shutil.rmtree(tmp_path / 'killed')
