import shutil
from itertools import combinations

import pytest

from mmlowformer.datasets.formats import ImageFolder
from mmlowformer.datasets.region_splitting import overlapping, split_regions
from mmlowformer.datasets.splitting import (
    group_by,
    group_split,
    split_content,
    split_images,
)
from mmlowformer.errors import UserError
from mmlowformer.utils.tiles import tiles_of

GROUPS = [f'g{index % 10}' for index in range(100)]


def test_no_group_is_in_two_parts():
    parts = group_split(GROUPS, dict(val=0.2, test=0.1), 0)
    assert {name: len(part) for name, part in parts.items()} == dict(
        train=70, val=20, test=10)
    assert sorted(sum(parts.values(), [])) == list(range(100))
    groups = [{GROUPS[index] for index in part} for part in parts.values()]
    assert not groups[0] & groups[1] | groups[0] & groups[2] \
        | groups[1] & groups[2]


@pytest.mark.parametrize(('wanted', 'number'), [
    (0.1, 48), (0.35, 48), (0.49, 48), (0.51, 96), (0.9, 96)])
def test_a_part_has_the_nearest_number_of_groups(wanted, number):
    """Of three scenes of 48 tiles, a third is nearest to 35 percent."""
    scenes = ['a'] * 48 + ['b'] * 48 + ['c'] * 48
    parts = group_split(scenes, dict(val=wanted), 0)
    assert len(parts['val']) == number


def test_reproducible():
    """By the seed, whatever the order of the images."""
    first = group_split(GROUPS, dict(val=0.2), 3)
    assert group_split(GROUPS, dict(val=0.2), 3) == first
    assert group_split(GROUPS, dict(val=0.2), 4) != first
    backwards = group_split(GROUPS[::-1], dict(val=0.2), 3)
    assert {GROUPS[::-1][index] for index in backwards['val']} == {
        GROUPS[index] for index in first['val']}


def test_every_part_has_something():
    parts = group_split(['a', 'b', 'c'], dict(val=0.01, test=0.9), 0)
    assert all(len(part) == 1 for part in parts.values())
    with pytest.raises(UserError, match=r'3 images in 1 group\(s\) cannot be '
                       'split into 2 parts'):
        group_split(['a'] * 3, dict(val=0.5), 0)


def test_a_class_of_one_image_has_a_remedy(tmp_path, photos):
    for name in ('cat/1.jpg', 'cat/2.jpg', 'dog/3.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(photos[0], tmp_path / name)
    with pytest.raises(UserError, match='/dog: 1 images? .*Add images of this '
                       'class, or move its folder out'):
        split_images(ImageFolder(str(tmp_path)), dict(val=0.5), None, 0)


def test_groups():
    assert group_by('^[^_]+')('a_1.jpg') == 'a'
    assert group_by('(.*)/')('x/a_1.jpg') == 'x'
    with pytest.raises(UserError, match='does not match a.jpg'):
        group_by('_')('a.jpg')
    with pytest.raises(UserError, match='is not a regular expression'):
        group_by('(')


def grid(scene, width, height, size=100, overlap=0.25):
    """Records of the tiles of an image."""
    return [dict(source=scene, offset=[tile.left, tile.top],
                 width=tile.right - tile.left, height=tile.bottom - tile.top)
            for tile in tiles_of(height, width, size, overlap)]


def apart(tiles, others):
    """Whether there is a gap between the tiles of two parts."""
    return not any(
        one['source'] == other['source'] and all(
            one['offset'][axis] <= other['offset'][axis] + other[side]
            and other['offset'][axis] <= one['offset'][axis] + one[side]
            for axis, side in enumerate(('width', 'height')))
        for one in tiles for other in others)


@pytest.mark.parametrize('overlap', [0, 0.25, 0.5])
@pytest.mark.parametrize('seed', range(3))
def test_regions_share_nothing(seed, overlap):
    tiles = [tile for scene, width, height in (
        ('a', 2000, 900), ('b', 700, 1500), ('single', 90, 90))
        for tile in grid(scene, width, height, overlap=overlap)]
    indices, left_out = split_regions(tiles, dict(val=0.2, test=0.1), seed)
    assert sum(map(len, indices.values())) + left_out == len(tiles)
    parts = {part: [tiles[index] for index in chosen]
             for part, chosen in indices.items()}
    assert 0.15 < len(parts['val']) / len(tiles) < 0.3
    assert 0.05 < len(parts['test']) / len(tiles) < 0.2
    assert left_out < 0.3 * len(tiles)
    for one, other in combinations(parts.values(), 2):
        assert apart(one, other)
        assert not list(overlapping(one, other))
    assert list(overlapping(parts['val'], tiles)) == list(
        range(len(parts['val'])))
    # By the seed, whatever the order.
    assert split_regions(tiles, dict(val=0.2, test=0.1), seed)[0] == indices
    again, _ = split_regions(tiles[::-1], dict(val=0.2, test=0.1), seed)
    assert sorted(map(str, parts['val'])) == sorted(
        str(tiles[::-1][index]) for index in again['val'])


@pytest.mark.parametrize(('tiles', 'message'), [
    (grid('a', 150, 150), 'no tile for val'),
    ([dict(file_name='a.jpg')], 'have no source and offset'),
    ([dict(source='a', offset=offset, width=9, height=9) for offset in (
        [0, 0], ['0', 0])], 'have no source and offset'),
    ([dict(source='a', offset=[0, 0, 0], width=9, height=9)],
     'have no source and offset')])
def test_what_has_no_regions(tiles, message):
    with pytest.raises(UserError, match=message):
        split_regions(tiles, dict(val=0.2), 0)


def test_tiles_of_one_image_need_regions():
    content = dict(annotations=[], images=[
        dict(tile, id=number, file_name=f'{number}.png')
        for number, tile in enumerate(grid('a', 900, 900))])
    with pytest.raises(UserError, match='all 144 tiles are of a: .*--regions'):
        split_content(content, dict(val=0.2), None, 0)
    parts, left_out = split_content(content, dict(val=0.2), None, 0,
                                    regions=True)
    assert len(parts['train']['images']) + len(parts['val']['images']) \
        == 144 - left_out
