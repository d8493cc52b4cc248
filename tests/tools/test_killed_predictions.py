"""tools/predict.py, killed at random moments and resumed."""
import json
import multiprocessing
import random
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmlowformer.benchmark.scale import cases

from ..helpers import PREDICT, run_tool

CONTEXT = multiprocessing.get_context('fork')
KILLS = 20


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    """Images in two folders and sizes, scenes, and two videos."""
    folder = tmp_path_factory.mktemp('inputs')
    noise = np.random.default_rng(0)
    for number in range(30):
        file = folder / f'images/{number % 2}/{number:03}.jpg'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(
            0, 256, (64, 64 + number % 3, 3), np.uint8)).save(file)
    (folder / 'scenes').mkdir()
    for number in range(3):
        Image.fromarray(noise.integers(0, 256, (500, 700, 3), np.uint8)).save(
            folder / f'scenes/{number}.png')
    (folder / 'videos').mkdir()
    for number in range(2):
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


@pytest.mark.slow
@pytest.mark.parametrize(('task', 'source', 'options'), [
    ('boxes', 'images', ['-r', '--save-crops']),
    ('masks', 'images', ['-r', '--batch-size', 2]),
    ('boxes', 'videos', []),
    ('masks', 'scenes', ['--tile-size', 128])])
def test_kills_lose_and_repeat_nothing(inputs, networks, tmp_path, task,
                                       source, options):
    command = (networks / task / 'network.pth', inputs / source, '--config',
               networks / task / 'network.py', '--device', 'cpu', *options)
    started = time.perf_counter()
    process = start(*command, '--out', 'whole', cwd=tmp_path)
    process.join()
    assert process.exitcode == 0
    duration = time.perf_counter() - started
    whole = files_in(tmp_path / 'whole')
    moment, kills = random.Random(0), 0
    while kills < KILLS:
        finished = False
        while not finished:
            process = start(*command, '--out', 'killed', '--resume',
                            cwd=tmp_path)
            if kills < KILLS:
                process.join(moment.uniform(0.2, 1) * duration)
                process.kill()
            process.join()
            finished = process.exitcode == 0
            kills += not finished
        assert files_in(tmp_path / 'killed') == whole
        for video in (tmp_path / 'killed').rglob('*.mp4'):
            assert frames_of(video) == 20
        shutil.rmtree(tmp_path / 'killed')
    lines = whole[Path('predictions.jsonl')].splitlines()
    images = [line['input'] for line in map(json.loads, lines)
              if 'frame' not in line]
    assert images == list(range(1, 1 + len(images)))
