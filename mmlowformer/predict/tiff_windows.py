"""Read parts of TIFF files, so that an image need not fit into the memory."""
import logging
import threading
import warnings
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..errors import UserError, first_line
from ..utils.imports import need, pinned

# First bytes of TIFF and BigTIFF files, in both byte orders.
TIFF = (b'II*\0', b'MM\0*')
BIG_TIFF = (b'II+\0', b'MM\0+')
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = (
    256, 257, 258, 259, 262, 274)
SAMPLES, SAMPLE_FORMAT = 277, 339
GRAY, RGB, YCBCR, JPEG = 1, 2, 6, 7
# OpenCV decodes no image with more pixels.
OPENCV_PIXELS = 2**30
# Bytes of decoded blocks that are kept. Rows of tiles share strips.
CACHE = 2**29


class TiffWindows:
    """An image like an array ``(h, w, 3)``, RGB, uint8.

    ``image[top:bottom, left:right]`` reads a part of the file;
    ``np.asarray(image)`` reads all of it.
    """

    dtype, ndim = np.dtype(np.uint8), 3

    def __init__(self, path: str, shape: tuple[int, int, int]):
        self.path, self.shape = path, shape
        self._file: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple:
        return type(self), (self.path, self.shape)

    def __getitem__(self, parts: slice | tuple[slice, slice]) -> np.ndarray:
        rows, columns = parts if isinstance(parts, tuple) else (
            parts, slice(None))
        return self._read(range(*rows.indices(self.shape[0])),
                          range(*columns.indices(self.shape[1])))

    def __array__(self, dtype=None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _read(self, rows: range, columns: range) -> np.ndarray:
        rasterio = need('rasterio', pinned('rasterio'))
        window = rasterio.windows.Window(columns.start, rows.start,
                                         len(columns), len(rows))
        # A file of GDAL is for one thread at a time.
        with self._lock, rasterio.Env(GDAL_CACHEMAX=CACHE):
            try:
                if self._file is None:
                    self._file = _open(rasterio, self.path)
                bands = self._file.read(window=window)
            except (rasterio.errors.RasterioError, ValueError) as error:
                raise UserError(
                    f'image {self.path} cannot be decoded: '
                    f'{first_line(error.__cause__ or error)}') from error
        if bands.dtype == np.uint16:
            # As libtiff, and so OpenCV, rounds colors, but not gray.
            bands = ((bands.astype(np.uint32) + 128) // 257 if len(bands) > 1
                     else bands >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(
            bands.transpose(1, 2, 0), (len(rows), len(columns), 3)))


def open_tiff(path: str) -> TiffWindows | None:
    """Open a plain RGB or gray image; others have to be decoded at once."""
    try:
        tags = _tags(path)
    # Pillow may raise anything for damaged headers, which the decoder names.
    except Exception:
        return None
    if tags is None or not _is_plain(tags):
        return None
    shape = (tags[HEIGHT], tags[WIDTH], 3)
    fits_opencv = shape[0] * shape[1] <= OPENCV_PIXELS
    if fits_opencv and not find_spec('rasterio'):
        return None
    image = TiffWindows(path, shape)
    try:
        image[:1, :1]
    except UserError:
        if fits_opencv:
            return None  # It may decode the file.
        raise
    return image


def _tags(path: str) -> ImageFileDirectory_v2 | None:
    with open(path, 'rb') as file:
        header = file.read(8)
        if header[:4] in BIG_TIFF:
            header += file.read(8)
        elif header[:4] not in TIFF:
            return None
        tags = ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        return tags


def _is_plain(tags: ImageFileDirectory_v2) -> bool:
    """Whether GDAL reads the pixels that OpenCV does."""
    samples = tags.get(SAMPLES, 1)
    return (tags.get(ORIENTATION, 1) == 1
            and set(tags.get(SAMPLE_FORMAT, (1, ))) == {1}
            and tags.get(BITS) in ((8, ) * samples, (16, ) * samples)
            and (tags.get(PHOTOMETRIC), samples) in (
                (GRAY, 1), (RGB, 3), *[(YCBCR, 3)] * (
                    tags.get(COMPRESSION) == JPEG)))


def _open(rasterio: ModuleType, path: str) -> Any:
    """Open a file with GDAL, whose notes on maps are for no one here."""
    logging.getLogger('rasterio').setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter(
            'ignore', rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path, driver='GTiff', sharing=False)
