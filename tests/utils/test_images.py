"""Large files are decoded from the disk, to the same pixels."""
import cv2
import numpy as np
import pytest
from PIL import Image

from mmlowformer.datasets.image_errors import LoadCheckedImage
from mmlowformer.errors import UserError
from mmlowformer.utils import images

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture
def from_disk(monkeypatch):
    """Decode from the disk, and fail for bytes."""
    def decode(path, library):
        with monkeypatch.context() as patch:
            patch.setattr(images, 'LARGE_FILE', -1)
            assert images.content_of(str(path), bytes) == str(path)
            return images.read(path, library)
    return decode


@pytest.mark.parametrize('library', [images.OPENCV, images.PILLOW])
@pytest.mark.parametrize('name', ['a.png', 'a.jpg', 'ä.bmp', 'a.tif',
                                  'rotated.jpg', 'deep.png', 'gray.png'])
def test_pixels(name, library, tmp_path, from_disk):
    path, exif = tmp_path / name, Image.Exif()
    if name == 'deep.png':
        cv2.imwrite(str(path), PIXELS[..., 0].astype(np.uint16) * 255)
    else:
        exif[images.EXIF_ORIENTATION] = 6 if name == 'rotated.jpg' else 1
        image = Image.fromarray(PIXELS)
        (image.convert('L') if name == 'gray.png' else image).save(
            path, **dict(exif=exif) if path.suffix == '.jpg' else {})
    expected = images.read(path.read_bytes(), library)
    np.testing.assert_array_equal(from_disk(path, library), expected)


def test_old_versions_of_opencv(tmp_path, monkeypatch, from_disk):
    """They take no array for the pixels."""
    path = tmp_path / 'a.png'
    Image.fromarray(PIXELS).save(path)
    imread = cv2.imread

    def old(path, flags, *more):
        if flags is None or more:
            raise cv2.error('Overload resolution failed')
        return imread(path, flags)

    monkeypatch.setattr(cv2, 'imread', old)
    np.testing.assert_array_equal(from_disk(path, images.OPENCV),
                                  PIXELS[..., ::-1])


def test_damaged_files(tmp_path, from_disk):
    (tmp_path / 'torn.png').write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(99))
    np.save(tmp_path / 'a.npy', PIXELS)
    cv2.imwrite(str(tmp_path / 'floats.tif'), PIXELS.astype(np.float32))
    for name, library in (('torn.png', images.OPENCV),
                          ('torn.png', images.PILLOW),
                          ('a.npy', images.OPENCV),
                          ('floats.tif', images.OPENCV)):
        with pytest.raises(UserError, match=rf'{name} (cannot|holds floats)'):
            from_disk(tmp_path / name, library)


def test_the_loader_of_configs(tmp_path, monkeypatch):
    path = str(tmp_path / 'a.png')
    Image.fromarray(PIXELS).save(path)
    expected = LoadCheckedImage()(dict(img_path=path))['img']
    monkeypatch.setattr(images, 'LARGE_FILE', -1)
    monkeypatch.setattr('mmengine.fileio.get', pytest.fail)
    np.testing.assert_array_equal(
        LoadCheckedImage()(dict(img_path=path))['img'], expected)


def test_names_that_opencv_cannot_take():
    name = b'/nowhere/\xff.png'.decode(errors='surrogateescape')
    assert images.content_of(name, lambda path: b'content') == b'content'
