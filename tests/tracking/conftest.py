"""Shared videos."""
import pytest

from mmlowformer.datasets.synthetic.mot_videos import make_mot_videos
from mmlowformer.datasets.synthetic.sot_videos import make_sot_videos


@pytest.fixture(scope='session')
def videos(tmp_path_factory):
    """Two training and three validation videos, tiny."""
    root = tmp_path_factory.mktemp('tracking') / 'videos'
    assert make_sot_videos(root, train=2, val=3, frames=5, size=64)
    return root / 'got10k'


@pytest.fixture(scope='session')
def crossings(tmp_path_factory):
    """A training video of many shapes and two others, tiny, like MOT17."""
    root = tmp_path_factory.mktemp('tracking') / 'crossings'
    assert make_mot_videos(root, train=1, val=2, frames=8, size=64)
    return root / 'mot17'
