"""Images that cannot be read are named."""
import cv2
import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from torch.utils.data import DataLoader

from mmlowformer.datasets.image_errors import (
    ImageErrorPipeline,
    name_images_in_errors,
)
from mmlowformer.engine import UserError


def read(record):
    image = cv2.imread(record['img_path'])
    assert image is not None, 'failed to load'
    return cv2.resize(image, (8, round(8 * image.shape[0] / image.shape[1])))


class Images(BaseDataset):

    def load_data_list(self):
        return [dict(img_path=path) for path in self.ann_file.split('|')]


@pytest.fixture
def images(tmp_path):
    good, bad = tmp_path / 'good.png', tmp_path / 'bad.png'
    cv2.imwrite(str(good), np.zeros((9, 9, 3), np.uint8))
    cv2.imwrite(str(bad), np.zeros((9, 9, 3), np.uint8))
    return Images(f'{good}|{bad}', pipeline=[read]), bad


def thin(path):
    cv2.imwrite(str(path), np.zeros((1, 900, 3), np.uint8))


@pytest.mark.parametrize(('spoil', 'message'), [
    (lambda path: path.write_bytes(b''), r'bad.png is empty \(0 bytes\)'),
    (lambda path: path.write_bytes(b'x'), 'bad.png cannot be decoded'),
    (lambda path: path.unlink(), 'bad.png no longer exists'),
    (thin, 'bad.png of 900x1 pixels cannot be processed by OpenCV: .*resize'),
])
@pytest.mark.parametrize('wrap', [
    lambda images: images, lambda images: RepeatDataset(images, 2),
    lambda images: ConcatDataset([images, images])])
def test_named(images, wrap, spoil, message):
    images, bad = images
    spoil(bad)
    dataset = wrap(images)
    name_images_in_errors(dataset)
    name_images_in_errors(dataset)
    assert dataset[0].shape == (8, 8, 3)
    with pytest.raises(UserError, match=message):
        dataset[1]


@pytest.mark.parametrize('record', [
    lambda paths: dict(img_path=paths),
    lambda paths: dict(images=[dict(img_path=path) for path in paths])])
def test_frames_of_videos_are_named(images, record):
    images, bad = images
    paths = [images.get_data_info(index)['img_path'] for index in (0, 1)]
    bad.write_bytes(b'x')

    def fail(record):
        raise AssertionError

    with pytest.raises(UserError, match='bad.png cannot be decoded'):
        ImageErrorPipeline(fail)(record(paths))
    with pytest.raises(AssertionError):
        ImageErrorPipeline(fail)(record(paths[:1]))


def test_named_by_a_spawned_worker(images):
    images, bad = images
    bad.write_bytes(b'')
    name_images_in_errors(images)
    loader = DataLoader(images, num_workers=1,
                        multiprocessing_context='spawn')
    with pytest.raises(UserError, match='UserError: image .*bad.png is empty'):
        list(loader)


def test_bugs_are_left_alone(images):
    images, _ = images

    def fail(record):
        raise ValueError('slip')

    images.pipeline.transforms.append(fail)
    name_images_in_errors(images)
    with pytest.raises(ValueError, match='slip'):
        images[0]


def test_pipeline_stays_what_it_was(images):
    images, _ = images
    before = images.pipeline
    name_images_in_errors(images)
    assert isinstance(images.pipeline, ImageErrorPipeline)
    assert images.pipeline.transforms is before.transforms
    name_images_in_errors([1, 2])
