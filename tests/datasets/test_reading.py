"""Every road to a model reads the same pixels."""
import io

import cv2
import mmcv
import numpy as np
import pytest
from mmcv.transforms import Compose, LoadImageFromFile
from PIL import Image

from mmlowformer.datasets.formats.image_folder import (
    AnnotationErrors,
    ImageFolder,
)
from mmlowformer.datasets.image_errors import ImageErrorPipeline
from mmlowformer.datasets.tiling import read_scene
from mmlowformer.engine import UserError
from mmlowformer.predict.pipeline import Pipeline
from mmlowformer.utils.images import OPENCV, PILLOW, read

PIXELS = np.kron(np.random.default_rng(0).integers(0, 256, (4, 6, 3)),
                 np.ones((4, 4, 1))).astype(np.uint8)
GRAY, ALPHA = PIXELS[..., 0], PIXELS[..., 1]
DEEP = GRAY.astype(np.uint16) * 200 + 77
SIDEWAYS = Image.Exif()
SIDEWAYS[274] = 6


def photo(array, mode=None):
    image = Image.fromarray(array)
    return image.convert(mode) if mode else image


def written(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def by_opencv(array, suffix):
    return cv2.imencode(suffix, array)[1].tobytes()


def bilevel(kind):
    return written(photo(GRAY, '1'), kind)


RGB, RGBA = photo(PIXELS), photo(np.dstack([PIXELS, ALPHA]))
LA = Image.merge('LA', (photo(GRAY), photo(ALPHA)))
PALETTE = RGB.quantize(16)
SECOND = dict(save_all=True, append_images=[photo(255 - PIXELS)])
FILES = {
    '1.png': bilevel('PNG'), '1.tif': bilevel('TIFF'),
    'L.png': written(photo(GRAY), 'PNG'),
    'L.jpg': written(photo(GRAY), 'JPEG'),
    'LA.png': written(LA, 'PNG'), 'LA.tif': written(LA, 'TIFF'),
    'P.png': written(PALETTE, 'PNG'), 'P.gif': written(PALETTE, 'GIF'),
    'P.bmp': written(PALETTE, 'BMP'),
    'P-transparent.png': written(PALETTE, 'PNG', transparency=3),
    'P-transparent.gif': written(PALETTE, 'GIF', transparency=3),
    **{f'RGB.{kind}': written(RGB, kind)
       for kind in ('PNG', 'TIFF', 'WEBP', 'JPEG')},
    **{f'RGBA.{kind}': written(RGBA, kind)
       for kind in ('PNG', 'TIFF', 'WEBP')},
    'CMYK.jpg': written(RGB.convert('CMYK'), 'JPEG'),
    'CMYK.tif': written(RGB.convert('CMYK'), 'TIFF'),
    'YCbCr.tif': written(RGB.convert('YCbCr'), 'TIFF'),
    'RGB-16.png': by_opencv(DEEP[..., None].repeat(3, 2), '.png'),
    'RGBA-16.png': by_opencv(DEEP[..., None].repeat(4, 2), '.png'),
    **{f'upright.{kind}': written(RGB, kind, exif=SIDEWAYS)
       for kind in ('PNG', 'TIFF', 'WEBP', 'JPEG')},
    'frames.gif': written(PALETTE, 'GIF', **SECOND),
    'frames.webp': written(RGB, 'WEBP', **SECOND),
    'frames.tif': written(RGB, 'TIFF', **SECOND)}
DEEP_FILES = {
    'I;16.png': written(photo(DEEP), 'PNG'),
    'I;16.tif': written(photo(DEEP), 'TIFF'),
    'I;16B.tif': written(Image.frombytes(
        'I;16B', DEEP.shape[::-1], DEEP.astype('>u2').tobytes()), 'TIFF'),
    'I;16.pgm': by_opencv(DEEP, '.pgm')}
ENDLESS = {
    'I.tif': written(photo(DEEP.astype(np.int32)), 'TIFF'),
    'F.tif': written(photo(GRAY / np.float32(255)), 'TIFF'),
    'F.pfm': by_opencv(GRAY / np.float32(255), '.pfm')}
LIBRARIES = dict(cv2=OPENCV, pillow=PILLOW)


def roads(path, backend):
    """All ways by which an image file can reach a model."""
    step = dict(type='LoadImageFromFile', imdecode_backend=backend)
    predicting = Pipeline([step], 'mmcv')
    training = ImageErrorPipeline(Compose([
        LoadImageFromFile(imdecode_backend=backend)]))
    yield lambda: training(dict(img_path=str(path)))['img']
    yield lambda: predicting.read(path)['img']
    yield lambda: predicting.read(path.read_bytes(), str(path))['img']
    yield lambda: read(path, LIBRARIES[backend])
    if backend == 'cv2':
        yield lambda: read_scene(str(path))[..., ::-1]
    else:
        def opened():
            with Image.open(path) as image:
                return predicting.read(image, str(path))['img']
        yield opened


@pytest.mark.parametrize('backend', LIBRARIES)
@pytest.mark.parametrize('name', [*FILES, *DEEP_FILES])
def test_all_roads_read_the_same(tmp_path, name, backend):
    path = tmp_path / name
    path.write_bytes((FILES | DEEP_FILES)[name])
    # Pillow alone would make white of 16 bits.
    expected = (DEEP >> 8)[..., None].repeat(3, 2) if name in DEEP_FILES \
        else mmcv.imread(path, backend=backend)
    assert expected.std() > 20
    for number, road in enumerate(roads(path, backend)):
        np.testing.assert_array_equal(road(), expected, f'road {number}')


@pytest.mark.parametrize('backend', LIBRARIES)
@pytest.mark.parametrize('name', ENDLESS)
def test_what_has_no_range_is_refused_by_name(tmp_path, name, backend):
    path = tmp_path / name
    path.write_bytes(ENDLESS[name])
    for road in roads(path, backend):
        with pytest.raises(UserError, match=rf'{name} .* to 8 or 16 bits'):
            road()


def test_nested_loaders_read_alike(tmp_path):
    path = tmp_path / 'deep.png'
    path.write_bytes(DEEP_FILES['I;16.png'])
    load = LoadImageFromFile(imdecode_backend='pillow')
    pipeline = ImageErrorPipeline(Compose([dict(
        type='RandomApply', prob=1., transforms=[load])]))
    assert pipeline(dict(img_path=str(path)))['img'].max() < 255


@pytest.mark.parametrize('name', ['I.tif', 'F.tif'])
def test_an_inspection_finds_them_by_the_header(tmp_path, name):
    (tmp_path / name).write_bytes(ENDLESS[name])
    errors = AnnotationErrors()
    assert ImageFolder(str(tmp_path)).size(name, errors) is None
    assert 'floats or 32-bit' in str(errors.lines())
