import shutil

import pytest

from mmlowformer.datasets.formats import ImageFolder
from mmlowformer.datasets.splitting import group_by, group_split, split_images
from mmlowformer.errors import UserError

GROUPS = [f'g{index % 10}' for index in range(100)]


def test_no_group_is_in_two_parts():
    parts = group_split(GROUPS, dict(val=0.2, test=0.1), 0)
    assert {name: len(part) for name, part in parts.items()} == dict(
        train=70, val=20, test=10)
    assert sorted(sum(parts.values(), [])) == list(range(100))
    groups = [{GROUPS[index] for index in part} for part in parts.values()]
    assert not groups[0] & groups[1] | groups[0] & groups[2] \
        | groups[1] & groups[2]


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
    assert group_by(None)('x/a_1.jpg') == 'x/a_1.jpg'
    assert group_by('^[^_]+')('a_1.jpg') == 'a'
    assert group_by('(.*)/')('x/a_1.jpg') == 'x'
    with pytest.raises(UserError, match='does not match a.jpg'):
        group_by('_')('a.jpg')
    with pytest.raises(UserError, match='is not a regular expression'):
        group_by('(')
