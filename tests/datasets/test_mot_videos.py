"""Videos of many shapes, in MOT17's layout."""
import configparser
import json
from collections import defaultdict

import cv2
import numpy as np
import pytest

from mmlowformer.datasets.synthetic.mot_videos import (
    LEAST_SEEN,
    draw_mot_video,
    make_mot_videos,
)
from mmlowformer.datasets.synthetic.shapes import CLASSES


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'crossings'
    assert make_mot_videos(root, train=2, val=1, frames=7, size=64)
    return root / 'mot17'


def read(root, name):
    return json.loads((root / 'annotations' / f'{name}.json').read_text())


def lines(root, split, number):
    file = root / split / f'MOT17-{split}-{number:02d}' / 'gt' / 'gt.txt'
    return [list(map(float, line.split(',')))
            for line in file.read_text().splitlines()]


def test_layout(root):
    for split, count in (('train', 2), ('test', 1)):
        folders = sorted((root / split).iterdir())
        assert [folder.name for folder in folders] == [
            f'MOT17-{split}-{number:02d}' for number in range(1, count + 1)]
        for folder in folders:
            info = configparser.ConfigParser()
            info.read(folder / 'seqinfo.ini')
            assert info['Sequence']['name'] == folder.name
            frames = sorted((folder / info['Sequence']['imDir']).iterdir())
            assert [path.name for path in frames] == [
                f'{number:06d}.jpg' for number in range(1, 8)]
            assert cv2.imread(str(frames[0])).shape == (
                int(info['Sequence']['imHeight']),
                int(info['Sequence']['imWidth']), 3) == (64, 85, 3)


def test_annotations_are_those_of_the_text_files(root):
    content = read(root, 'train_cocoformat')
    assert content['categories'] == [dict(id=1, name='pedestrian')]
    images = {image['id']: image for image in content['images']}
    found = defaultdict(list)
    for item in content['annotations']:
        image = images[item['image_id']]
        assert item['area'] == item['bbox'][2] * item['bbox'][3] > 0
        found[image['video_id']].append([
            image['mot_frame_id'], item['official_id'], *item['bbox'],
            item['mot_conf'], item['category_id'], item['visibility']])
    assert sorted(found) == [1, 2]
    for number, rows in found.items():
        assert rows == lines(root, 'train', number)
    owners = {item['instance_id']: (images[item['image_id']]['video_id'],
                                    item['official_id'])
              for item in content['annotations']}
    assert len(set(owners.values())) == len(owners)


def test_halves(root):
    whole = read(root, 'train_cocoformat')['images']
    halves = [read(root, f'half-{part}_cocoformat')['images']
              for part in ('train', 'val')]
    assert [[image['frame_id'] for image in half] for half in halves] == [
        [0, 1, 2, 3] * 2, [0, 1, 2] * 2]
    assert sorted(image['file_name'] for half in halves for image in half) \
        == [image['file_name'] for image in whole]


def test_frames_for_detectors(root):
    content = read(root, 'test_shapes')
    assert [item['name'] for item in content['categories']] == list(CLASSES)
    assert len({item['category_id'] for item in content['annotations']}) > 1
    rows = lines(root, 'test', 1)
    assert [item['bbox'] for item in content['annotations']] == [
        row[2:6] for row in rows]
    assert [item['iscrowd'] for item in content['annotations']] == [
        row[-1] < LEAST_SEEN for row in rows]


def test_deterministic(root, tmp_path):
    arguments = dict(train=1, val=1, frames=7, size=64)
    assert make_mot_videos(tmp_path / 'again', **arguments)
    name = 'test/MOT17-test-01/img1/000007.jpg'
    again = (tmp_path / 'again' / 'mot17' / name).read_bytes()
    assert again == (root / name).read_bytes()
    assert not make_mot_videos(tmp_path / 'again', **arguments)
    with pytest.raises(FileExistsError, match='something else'):
        make_mot_videos(tmp_path / 'again', **dict(arguments, seed=1))
    with pytest.raises(ValueError, match='frames must be at least 4'):
        make_mot_videos(tmp_path / 'short', frames=3)


@pytest.fixture(scope='module')
def crowd():
    return [seen for _, seen in draw_mot_video(
        np.random.default_rng(0), 150, 64, 85)]


def test_shapes_come_go_and_hide_each_other(crowd):
    assert min(map(len, crowd)) >= 1
    frames = defaultdict(list)
    for number, seen in enumerate(crowd):
        for item in seen:
            frames[item.identity].append(number)
    # Whoever has left does not come back as the same.
    assert all(numbers == list(range(numbers[0], numbers[-1] + 1))
               for numbers in frames.values())
    assert any(numbers[0] > 0 for numbers in frames.values())
    assert any(numbers[-1] < 149 for numbers in frames.values())
    visible = [item.visible for seen in crowd for item in seen]
    assert min(visible) < 0.3
    assert max(visible) > 0.95


def test_boxes_lie_in_the_image_and_move_little(crowd):
    before = {}
    for seen in crowd:
        for item in seen:
            left, top, width, height = item.box
            assert min(left, top) >= 0
            assert min(width, height) >= 1
            assert left + width <= 85
            assert top + height <= 64
            centre = np.array([left + width / 2, top + height / 2])
            if item.identity in before:
                step = np.abs(centre - before[item.identity]).max()
                assert step < 8
            before[item.identity] = centre
