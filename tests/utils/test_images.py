"""Large files are decoded from the disk, to the same pixels; sizes."""
import cv2
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageFile

from mmlowformer.datasets.checks.masks import read_mask
from mmlowformer.datasets.formats.shapes import mask_from_png
from mmlowformer.datasets.image_errors import LoadCheckedImage
from mmlowformer.errors import UserError
from mmlowformer.utils import images

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def turned():
    """EXIF data of an image that lies on its side."""
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = 6
    return exif


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
                                  'rotated.jpg', 'rotated.tif', 'deep.png',
                                  'gray.png'])
def test_pixels(name, library, tmp_path, from_disk):
    path = tmp_path / name
    if name == 'deep.png':
        cv2.imwrite(str(path), PIXELS[..., 0].astype(np.uint16) * 255)
    else:
        image = Image.fromarray(PIXELS)
        (image.convert('L') if name == 'gray.png' else image).save(
            path, **dict(exif=turned()) if path.stem == 'rotated' else {})
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


XMP = b'<x tiff:Orientation="6"/>'


@pytest.mark.parametrize(('suffix', 'options'), [
    (suffix, options) for suffix in ('png', 'jpg', 'tif', 'webp')
    for options in ({}, dict(exif=turned()))] + [('jpg', dict(xmp=XMP))])
def test_upright_size(suffix, options, tmp_path, monkeypatch):
    """It is that of the pixels, without a look at them."""
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(PIXELS).save(path, **options)
    expected = images.read(path, images.OPENCV).shape[:2]
    monkeypatch.setattr(ImageFile.ImageFile, 'load', pytest.fail)
    assert images.upright_size(path) == expected


def test_exif_data_behind_the_pixels(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(PIXELS).save(path, exif=turned())
    content = path.read_bytes()
    # The four bytes before a chunk's name are its length.
    start, pixels, end = (content.index(name) - 4
                          for name in (b'eXIf', b'IDAT', b'IEND'))
    content = (content[:start] + content[pixels:end] + content[start:pixels]
               + content[end:])
    path.write_bytes(content)
    assert images.read(path, images.OPENCV).shape == (60, 40, 3)
    assert images.upright_size(path) == (60, 40)
    path.write_bytes(content[:end - start])
    with pytest.raises(OSError, match='truncated'):
        images.upright_size(path)


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


POSTSCRIPT = (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n'
              b'%%EndComments\nshowpage\n')


@pytest.mark.parametrize('decode', [
    lambda path: images.read(path, images.PILLOW),
    lambda path: images.read(path.read_bytes(), images.PILLOW),
    lambda path: images.upright_size(str(path)),
    lambda path: read_mask(str(path)),
    lambda path: mask_from_png(path.read_bytes(), (64, 64))])
def test_postscript_is_not_run(decode, tmp_path, monkeypatch):
    """Pillow hands it to Ghostscript, whatever the suffix is."""
    path, program = tmp_path / 'a.png', tmp_path / 'bin/gs'
    path.write_bytes(POSTSCRIPT)
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(program.parent), prepend=':')
    monkeypatch.setattr(EpsImagePlugin, 'gs_binary', None)
    with pytest.raises((OSError, UserError, ValueError)):
        decode(path)
    assert not (tmp_path / 'ran').exists()
