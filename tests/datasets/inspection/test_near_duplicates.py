"""Images that are almost the same."""
import numpy as np
import pytest
from PIL import Image

from mmlowformer.datasets.inspection import near_duplicates
from mmlowformer.datasets.inspection.near_duplicates import (
    find_near_duplicates,
    similar_groups,
)
from mmlowformer.utils import images
from mmlowformer.utils.images import difference_hash


def scenery(seed, width=480):
    """An image of large spots."""
    noise = np.random.default_rng(seed).integers(
        0, 255, (6, width // 40, 3), np.uint8)
    return Image.fromarray(noise).resize((width, 240))


@pytest.fixture
def folder(tmp_path):
    """Two images, copies of the first, and some that have no hash."""
    first, second = map(scenery, range(2))
    first.save(tmp_path / 'a.png')
    second.save(tmp_path / 'b.png')
    first.resize((200, 150)).save(tmp_path / 'small.jpg', quality=60)
    first.point(lambda value: value * 0.8).save(tmp_path / 'dark.jpg')
    first.crop((3, 3, *first.size)).save(tmp_path / 'crop.png')
    for name in 'xy':
        Image.new('RGB', (90, 90), 'white').save(tmp_path / f'{name}.png')
    (tmp_path / 'broken.png').write_bytes(b'\x89PNG')
    return tmp_path


@pytest.mark.parametrize('copy', ['small.jpg', 'dark.jpg', 'crop.png'])
def test_copies_are_found(copy, folder):
    parts = dict(train=['b.png', 'a.png', 'x.png', 'broken.png'],
                 val=['y.png', copy, 'gone.png'], test=['x.png'])
    found, = find_near_duplicates(str(folder), parts)
    assert found == (('train', 'val'), [('a.png', copy)], True)


def test_others_are_not(shapes):
    """Shapes of a few kinds on backgrounds of one kind."""
    root = shapes / 'coco'
    parts = {part: [f'{part}/{path.name}' for path in
                    sorted((root / part).iterdir())]
             for part in ('train2017', 'val2017')}
    assert not list(find_near_duplicates(str(root), parts))


def test_large_parts_are_sampled(folder, monkeypatch):
    monkeypatch.setattr(near_duplicates, 'MOST_IMAGES', 1)
    parts = dict(train=['a.png', 'b.png'], val=['dark.jpg'])
    found, = find_near_duplicates(str(folder), parts)
    assert not found.complete
    monkeypatch.setattr(images, 'MOST_HASHED', 100)
    assert difference_hash(str(folder / 'a.png')) is None


def test_groups(folder, monkeypatch):
    monkeypatch.setattr(near_duplicates, 'ROWS', 2)
    names = ['x.png', 'a.png', 'b.png', 'y.png', 'small.jpg', 'crop.png']
    groups = similar_groups(str(folder), names)
    assert len({groups[name] for name in names}) == 4
    assert groups['a.png'] == groups['small.jpg'] == groups['crop.png']
    # Tiles of an image stay together, too.
    groups = similar_groups(str(folder), names, ['1', '2', '3', '2', '4', '5'])
    assert groups['y.png'] == groups['crop.png']
    assert len(set(groups.values())) == 3


def test_a_chain_of_frames_is_a_group(tmp_path):
    """Though the last frame does not look like the first."""
    scene = scenery(0, 1200)
    names = [f'{number:02}.png' for number in range(20)]
    for left, name in enumerate(names):
        scene.crop((4 * left, 0, 4 * left + 480, 240)).save(tmp_path / name)
    first, last = (difference_hash(str(tmp_path / name))
                   for name in (names[0], names[-1]))
    assert first @ last < 100
    assert len(set(similar_groups(str(tmp_path), names).values())) == 1
