import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlowformer.datasets.synthetic.shapes import (
    CLASSES,
    RADIUS_OF_A_SINGLE_SHAPE,
    make_dataset,
    make_scene,
)


def files(root):
    return {path.relative_to(root): path.read_bytes()
            for path in sorted(Path(root).rglob('*')) if path.is_file()}


def coco(root, split='train'):
    file = root / 'coco' / 'annotations' / f'instances_{split}2017.json'
    return json.loads(file.read_text())


def test_deterministic(tmp_path, shapes):
    make_dataset(tmp_path / 'again', train=4, val=2, size=64)
    assert files(tmp_path / 'again') == files(shapes)
    make_dataset(tmp_path / 'other', train=4, val=2, size=64, seed=1)
    assert files(tmp_path / 'other') != files(shapes)


def test_splits_differ(shapes):
    train = {path.read_bytes() for path in shapes.glob('coco/train2017/*')}
    val = {path.read_bytes() for path in shapes.glob('coco/val2017/*')}
    assert len(train) == 4
    assert len(val) == 2
    assert not train & val


def test_key_formats_show_the_same_scenes(shapes):
    for split, folder in (('train', 'training'), ('val', 'validation')):
        content = coco(shapes, split)
        assert [c['name'] for c in content['categories']] == list(CLASSES)
        for image in content['images']:
            name = image['file_name']
            one = shapes / 'coco' / f'{split}2017' / name
            other = shapes / 'ade' / 'images' / folder / name
            assert one.read_bytes() == other.read_bytes()
            mask = cv2.imread(str(
                (shapes / 'ade' / 'annotations' / folder / name).with_suffix(
                    '.png')), cv2.IMREAD_UNCHANGED)
            assert mask.shape == (image['height'], image['width'])
            assert mask.dtype == np.uint8
            annotations = [a for a in content['annotations']
                           if a['image_id'] == image['id']]
            assert annotations
            areas = np.zeros(len(CLASSES) + 2, int)
            for annotation in annotations:
                label = annotation['category_id'] + 1
                areas[label] += annotation['area']
                x, y, width, height = annotation['bbox']
                assert (mask[y:y + height, x:x + width] == label).any()
                assert annotation['segmentation']
            areas[1] = mask.size - areas.sum()
            assert (np.bincount(mask.ravel(), minlength=len(areas))
                    == areas).all()


def test_boxes_are_tight(tmp_path):
    make_dataset(tmp_path / 'shapes', train=20, val=1, size=96)
    content = coco(tmp_path / 'shapes')
    for annotation in content['annotations']:
        points = np.concatenate([np.reshape(part, (-1, 2)) for part in
                                 annotation['segmentation']])
        x, y, width, height = annotation['bbox']
        assert points.min(0).tolist() == [x, y]
        assert points.max(0).tolist() == [x + width - 1, y + height - 1]
    ids = [a['id'] for a in content['annotations']]
    assert ids == list(range(1, len(ids) + 1))
    assert {a['category_id'] for a in content['annotations']} == {1, 2, 3, 4}


def test_second_call_writes_nothing(tmp_path):
    arguments = dict(out=tmp_path / 'shapes', train=1, val=1, size=32)
    assert make_dataset(**arguments)
    assert not make_dataset(**arguments)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / 'photo.jpg').write_text('mine')
    with pytest.raises(FileExistsError, match='something else'):
        make_dataset(tmp_path, train=1, val=1, size=32)
    assert (tmp_path / 'photo.jpg').read_text() == 'mine'


def test_interrupted_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cv2, 'imwrite', interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / 'shapes', train=1, val=1, size=32)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(train=0), 'train must be at least 1'),
    (dict(size=8), 'size must be at least 32'),
    (dict(seed=-1), 'seed must be at least 0')])
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_dataset(tmp_path / 'shapes', **arguments)
    assert not (tmp_path / 'shapes').exists()


def test_folders_hold_one_shape_each(shapes):
    root = shapes / 'folders'
    for split, count in (('train', 4), ('val', 2)):
        assert sorted(path.name for path in (root / split).iterdir()) == \
            sorted(CLASSES)
        images = sorted((root / split).rglob('*.jpg'))
        assert sorted(path.name for path in images) == [
            f'{index:06d}.jpg' for index in range(count)]
        assert all(cv2.imread(str(path)).shape == (64, 64, 3)
                   for path in images)
    # Each image is filed under what it shows.
    for label, name in enumerate(CLASSES):
        rng = np.random.default_rng([0, 0, label, 1])
        image, placed = make_scene(rng, 64, labels=[label], max_shapes=1,
                                   radius_range=RADIUS_OF_A_SINGLE_SHAPE)
        assert [kind for kind, _ in placed] == [label]
        written = root / 'train' / name / f'{label:06d}.jpg'
        jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        assert written.read_bytes() == jpeg.tobytes()
