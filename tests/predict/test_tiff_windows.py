"""Windows of TIFF files have the pixels that OpenCV decodes."""
import pickle
import sys
import threading
import warnings

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image

from mmlowformer import Predictor
from mmlowformer.errors import UserError
from mmlowformer.predict import tiff_windows
from mmlowformer.predict.tiff_windows import open_tiff
from mmlowformer.utils.images import OPENCV, read

SMOOTH = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8),
    (300, 217), interpolation=cv2.INTER_CUBIC)
NOISE = np.random.default_rng(0).integers(0, 2**16, (217, 300, 3), np.uint16)
TILED = dict(tiled=True, blockxsize=64, blockysize=64, interleave='pixel')


def write(path, values, **options):
    """Write a file with GDAL, and return its path."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            'ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
                path, 'w', driver='GTiff', height=values.shape[0],
                width=values.shape[1], count=values.shape[2],
                dtype=values.dtype, **options) as file:
            file.write(values.transpose(2, 0, 1))
    return str(path)


@pytest.fixture
def scene(tmp_path):
    return write(tmp_path / 'scene.tif', SMOOTH, **TILED, compress='deflate')


@pytest.mark.parametrize(('values', 'options'), [
    (SMOOTH, {}), (SMOOTH, dict(interleave='band')),
    (SMOOTH, dict(blockysize=217, compress='lzw', interleave='pixel')),
    (SMOOTH, dict(**TILED, compress='deflate', predictor=2)),
    (SMOOTH, dict(**TILED, compress='deflate', BIGTIFF='YES')),
    (SMOOTH, dict(**TILED, ENDIANNESS='BIG')),
    (SMOOTH, dict(**TILED, compress='jpeg')),
    (SMOOTH[..., :1], TILED), (NOISE[..., :1], {}),
    (NOISE, dict(**TILED, photometric='rgb'))], ids=str)
def test_pixels(values, options, tmp_path):
    path = write(tmp_path / 'a#b?.tif', values, **options)
    image, expected = open_tiff(path), read(path, OPENCV)[..., ::-1]
    assert (image.shape, image.ndim, image.dtype) == (
        expected.shape, expected.ndim, expected.dtype)
    np.testing.assert_array_equal(image, expected)
    for parts in np.s_[40:110, 60:200], np.s_[200:], np.s_[:9, 290:999]:
        np.testing.assert_array_equal(image[parts], expected[parts])


def test_tiles_of_16_bits_of_gray(tmp_path):
    """OpenCV 5.0 mixes up those at the right edge."""
    path = write(tmp_path / 'a.tif', NOISE[..., :1], **TILED)
    np.testing.assert_array_equal(np.asarray(open_tiff(path))[..., 0],
                                  NOISE[..., 0] >> 8)


def test_colors_at_half_resolution(tmp_path):
    """GDAL interpolates them in another way."""
    path = write(tmp_path / 'a.tif', SMOOTH, **TILED, compress='jpeg',
                 photometric='ycbcr')
    difference = np.asarray(open_tiff(path)).astype(int) \
        - read(path, OPENCV)[..., ::-1]
    assert abs(difference).mean() < 1


def test_other_files_are_decoded_at_once(tmp_path):
    """Their pixels depend on more than GDAL applies."""
    picture, rotated = Image.fromarray(SMOOTH), Image.Exif()
    rotated[tiff_windows.ORIENTATION] = 6
    files = [
        write(tmp_path / 'alpha.tif', np.dstack([SMOOTH, SMOOTH[..., 0]]),
              photometric='rgb', alpha='yes'),
        write(tmp_path / 'floats.tif', SMOOTH.astype(np.float32),
              photometric='rgb'),
        write(tmp_path / 'inverted.tif', SMOOTH[..., :1],
              photometric='miniswhite')]
    for name, image, options in (
            ('palette.tif', picture.quantize(16), {}),
            ('cmyk.tif', picture.convert('CMYK'), {}),
            ('rotated.tif', picture, dict(exif=rotated)),
            ('image.png', picture, {})):
        image.save(tmp_path / name, **options)
        files.append(str(tmp_path / name))
    for name, content in (('empty.tif', b''), ('header.tif', b'II*\0'),
                          ('zeros.tif', b'MM\0*' + bytes(99))):
        (tmp_path / name).write_bytes(content)
        files.append(str(tmp_path / name))
    assert [open_tiff(file) for file in files] == [None] * len(files)


def test_pyramids_have_their_full_resolution(scene):
    expected = np.asarray(open_tiff(scene))
    with rasterio.open(scene, 'r+') as file:
        file.build_overviews([2, 4])
    np.testing.assert_array_equal(open_tiff(scene), expected)


def test_a_torn_file_is_named(tmp_path):
    path = tmp_path / 'torn.tif'
    write(path, SMOOTH)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r'torn\.tif cannot be decoded'):
        np.asarray(open_tiff(str(path)))


def test_a_file_that_gdal_cannot_open(tmp_path, monkeypatch):
    """The decoder may, unless the image is too large for it."""
    path = tmp_path / 'torn.tif'
    write(path, SMOOTH, compress='deflate')
    header = path.read_bytes()
    path.write_bytes(header.replace(
        (259).to_bytes(2, 'little') + b'\x03\0\x01\0\0\0\x08\0',
        (259).to_bytes(2, 'little') + b'\x03\0\x01\0\0\0\x99\x99'))
    assert path.read_bytes() != header
    assert open_tiff(str(path)) is None
    monkeypatch.setattr(tiff_windows, 'OPENCV_PIXELS', 0)
    with pytest.raises(UserError, match=r'torn\.tif cannot be decoded'):
        open_tiff(str(path))


def test_without_rasterio(scene, monkeypatch):
    """The image is decoded at once, if OpenCV decodes that many pixels."""
    monkeypatch.setattr(tiff_windows, 'find_spec', lambda name: None)
    assert open_tiff(scene) is None
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    monkeypatch.setattr(tiff_windows, 'OPENCV_PIXELS', 300 * 217 - 1)
    with pytest.raises(UserError, match='pip install rasterio=='):
        open_tiff(scene)


def test_threads_and_copies_share_a_file(scene):
    image, found = open_tiff(scene), {}
    copy = pickle.loads(pickle.dumps(image))
    threads = [threading.Thread(target=lambda top=top: found.update({
        top: image[top:top + 30]})) for top in range(0, 217, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(
        np.concatenate([found[top] for top in sorted(found)]), copy)


def test_predictions_are_those_of_the_decoded_image(
        detector, segmentor, scene, monkeypatch):
    for checkpoint in (detector, segmentor):
        predictor = Predictor(checkpoint, score_thr=0., device='cpu',
                              tile=128)
        result = predictor(scene)
        assert isinstance(result.image, tiff_windows.TiffWindows)
        with monkeypatch.context() as patch:
            patch.setattr(tiff_windows, 'find_spec', lambda name: None)
            expected = predictor(scene)
        assert isinstance(expected.image, np.ndarray)
        assert result.json() == expected.json()
        assert result.line()[:30] == expected.line()[:30]
        np.testing.assert_array_equal(result.draw(), expected.draw())
        if checkpoint == detector:
            for one, other in zip(result.crops(), expected.crops()):
                np.testing.assert_array_equal(one, other)
