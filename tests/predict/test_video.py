"""Annotated copies of videos."""
import contextlib
import resource

import cv2
import numpy as np
import pytest
from PIL import Image

from mmlowformer.errors import UserError
from mmlowformer.predict import video

from ..helpers import ROOT

# Ends as kill -9 does.
KILLED = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from PIL import Image
from pathlib import Path
from mmlowformer.predict.video import VideoWriter
writer = VideoWriter(Path('copy.mp4'), 25)
for number in range(int(sys.argv[1])):
    writer.write(Image.new('RGB', (65, 48), (8 * number, 0, 0)))
time.sleep(0.3)
os.kill(os.getpid(), 9)
"""


def write(file, frames, picture=None):
    with contextlib.closing(video.VideoWriter(file, 25)) as writer:
        for number in range(frames):
            writer.write(picture.rotate(number) if picture else
                         Image.new('RGB', (65, 48), (8 * number, 0, 0)))


def frames_of(file):
    """The number of frames, each as it was written but for compression."""
    reds = [np.median(frame[..., 2]) for frame in video.VideoReader(str(file))]
    assert reds == pytest.approx([8 * i for i in range(len(reds))], abs=5)
    return len(reds)


@pytest.mark.parametrize('lacking', ['nothing', 'pipes', 'fragments'])
def test_a_whole_copy(tmp_path, lacking, monkeypatch):
    if lacking == 'pipes':  # As on Windows.
        monkeypatch.delattr('os.mkfifo')
    if lacking == 'fragments':
        monkeypatch.setattr(video, 'FRAGMENTED', '.unknown')
    write(tmp_path / 'a/copy.mp4', 30)
    assert frames_of(tmp_path / 'a/copy.mp4') == 30
    reader = video.VideoReader(str(tmp_path / 'a/copy.mp4'))
    assert (reader.fps, reader.total) == (25, 30)
    assert next(iter(reader)).shape == (48, 66, 3)


def test_a_killed_process_leaves_a_video(run_forked, tmp_path):
    """All but the fragment in progress."""
    assert run_forked(KILLED, '31').returncode == -9
    assert 31 - 12 <= frames_of(tmp_path / 'copy.mp4') < 31


def test_a_full_disk_ends_a_copy(tmp_path):
    """Without a copy that is silently cut."""
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
    try:
        with pytest.raises(OSError, match='File too large'):
            write(tmp_path / 'copy.mp4', 500, Image.fromarray(noise))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cv2.VideoCapture(str(tmp_path / 'copy.mp4')).read()[0]


def test_without_an_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.VideoWriter, 'fourcc', lambda *_: 0)
    with pytest.raises(UserError, match='no MPEG-4 encoder'):
        write(tmp_path / 'copy.mp4', 1)
