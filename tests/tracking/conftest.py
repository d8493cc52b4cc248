"""Videos that tests of tracking share."""
import pytest

from mmlowformer.data.moving_shapes import make_videos


@pytest.fixture(scope='session')
def videos(tmp_path_factory):
    """Two training and three validation videos, tiny."""
    root = tmp_path_factory.mktemp('tracking') / 'videos'
    assert make_videos(root, train=2, val=3, frames=5, size=64)
    return root / 'got10k'
