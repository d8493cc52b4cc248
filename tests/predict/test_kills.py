"""Predictions whose processes are killed at random moments."""
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from ..helpers import PREDICT, ROOT

KILLS = 6


@pytest.fixture
def images(photos, tmp_path):
    """Thirty images."""
    (tmp_path / 'images').mkdir()
    for number in range(30):
        Image.open(photos[number % 4]).rotate(number).save(
            tmp_path / f'images/{number}.jpg')
    return tmp_path / 'images'


@pytest.fixture
def videos(photos, tmp_path):
    """Four videos of 20 frames."""
    (tmp_path / 'videos').mkdir()
    frame = np.array(Image.open(photos[0]))
    for name in 'abcd':
        writer = cv2.VideoWriter(str(tmp_path / f'videos/{name}.avi'),
                                 cv2.VideoWriter.fourcc(*'MJPG'), 10, (64, 64))
        for shift in range(20):
            writer.write(np.roll(frame, shift, 1))
        writer.release()
    return tmp_path / 'videos'


@pytest.fixture
def scenes(photos, tmp_path):
    """Six large images."""
    (tmp_path / 'scenes').mkdir()
    for number in range(6):
        Image.open(photos[0]).resize((200 + number, 200)).save(
            tmp_path / f'scenes/{number}.tif')
    return tmp_path / 'scenes'


@pytest.mark.slow
@pytest.mark.parametrize('shards', [1, 3])
@pytest.mark.parametrize(('task', 'source', 'options'), [
    ('detection', 'images', ['--save-crops']),
    ('detection', 'videos', []),
    ('segmentation', 'scenes', ['--tile-size', 64])])
def test_killed_predictions_are_resumed(
        tiny, request, run_python, tmp_path, monkeypatch, task, source,
        options, shards):
    """The end is that of a run without interruption, in all files."""
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    result = run_python(
        ROOT / 'tests/predict/kills.py', KILLS, 0, shards, tmp_path / 'out',
        PREDICT, tiny(task), request.getfixturevalue(source), '--score-thr', 0,
        '--device', 'cpu', *options)
    assert result.returncode == 0, result.stderr
    killed, = re.findall(r'(\d+) kills', result.stdout)
    assert int(killed) >= KILLS
