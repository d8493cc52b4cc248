"""Read images in one way for training, prediction and exports."""
import io
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..errors import UserError, first_line
from .imports import need

if TYPE_CHECKING:
    from PIL import Image

# A path, the bytes of a file, an array ``(h, w, 3)`` in BGR as OpenCV reads it
# or ``(h, w)`` in gray, or a PIL image.
Source: TypeAlias = ('str | Path | bytes | bytearray | memoryview | np.ndarray'
                     ' | Image.Image')
CONTENT = (bytes, bytearray, memoryview)

OPENCV, PILLOW = 'opencv', 'pillow'
PACKAGES = {OPENCV: ('cv2', 'opencv-python-headless'),
            PILLOW: ('PIL.Image', 'pillow')}
# What Pillow decodes itself: it would run Ghostscript for PostScript, whatever
# the file's suffix is.
FORMATS = ('JPEG', 'PNG', 'BMP', 'GIF', 'PPM', 'TIFF', 'WEBP', 'JPEG2000',
           'AVIF')
# Bytes of a file from which on OpenCV opens it, which halves the peak memory:
# OpenCV copies the pixels of a file whose bytes it gets.
LARGE_FILE = 2**18
# Background of gray images with alpha, as in mmcv.
CANVAS = (124, 117, 104)
# A hash has a bit for each of so many rows and columns.
HASH_SIDE = 16
# Bits of 256 that differ at most in the hashes of similar images. In scaled,
# compressed, darkened and slightly cropped copies up to 30 do, in other images
# of one kind 70 and more.
SIMILAR = 32
# Images of fewer gray levels are all alike, such as those of the sky.
FLAT = 4
# Larger images have no hash, because they take long to decode.
MOST_HASHED = 50_000_000
# Tags of EXIF data and of TIFF files.
IMAGE_WIDTH, IMAGE_LENGTH, EXIF_ORIENTATION = 256, 257, 274
# First bytes of a PNG file, and bytes at the end of its chunks.
PNG, CHECKSUM = b'\x89PNG\r\n\x1a\n', 4
# First bytes of files of floats: Radiance, PFM, OpenEXR.
FLOATING = (b'#?', b'PF', b'Pf', b'v/1\x01')


def read(source: Source, library: str, name: str = '') -> np.ndarray:
    """Read an image as an array ``(h, w, 3)``, BGR, uint8."""
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise UserError(f'image not found: {source}'
                            + (', which is no regular file'
                               if Path(source).exists() else ''))
        content = content_of(str(source), lambda path: Path(path).read_bytes())
        return decode(content, library, f'image {source}')
    if isinstance(source, CONTENT):
        return decode(bytes(source), library, f'image {name or "of bytes"}')
    if not isinstance(source, np.ndarray) and hasattr(source, 'getexif'):
        return from_pillow(source, f'image {name or "of Pillow"}')
    if not hasattr(source, '__array__'):
        raise UserError('an image has to be a path, the bytes of a file, an '
                        'array or one of Pillow, not '
                        f'{type(source).__name__}')
    image = np.asarray(source)
    if image.ndim == 2:
        image = image[..., None].repeat(3, 2)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size \
            or image.dtype != np.uint8:
        raise UserError(
            f'image {name or "array"} has the shape {image.shape} and the '
            f'type {image.dtype}: give (height, width, 3) in BGR, uint8')
    return np.ascontiguousarray(image)


def decode(content: bytes | str, library: str, name: str) -> np.ndarray:
    """Decode an image file to the pixels of mmcv's ``LoadImageFromFile``.

    Of 16 bits it keeps the upper 8, with Pillow as with OpenCV. The path of
    a file instead of its bytes saves the memory of these.
    """
    if not content:
        raise UserError(f'{name} is empty (0 bytes)')
    if library == PILLOW:
        return _by_pillow(content, name)
    module = need(*PACKAGES[OPENCV])
    if isinstance(content, str):
        load = partial(_load_file, module, content)
        with open(content, 'rb') as file:
            start = file.read(4)
    else:
        load = partial(module.imdecode, np.frombuffer(content, np.uint8))
        start = content[:4]
    try:
        image = load(module.IMREAD_COLOR)
        if image is None or start.startswith(FLOATING):
            raw = load(module.IMREAD_UNCHANGED)
            if raw is not None and raw.dtype not in (np.uint8, np.uint16):
                raise UserError(f'{name} {_too_deep(str(raw.dtype))}')
    except module.error as error:
        reason = first_line(error).split('error: ')[-1]
        raise UserError(f'{name} cannot be decoded: {reason}') from error
    if image is None:
        raise UserError(f'{name} cannot be decoded: damaged or not an image')
    return image


def _load_file(module: ModuleType, path: str, flags: int
               ) -> np.ndarray | None:
    try:
        # Without an argument for it, OpenCV copies the pixels.
        image = module.imread(path, None, flags)
    except module.error:
        # OpenCV before 4.11 has no such argument.
        image = module.imread(path, flags)
    if image is None:
        # OpenCV 5.0 turns no TIFF file by 90 degrees that it opens.
        return module.imdecode(np.fromfile(path, np.uint8), flags)
    return image


def content_of(path: str, read: Callable[[str], bytes]) -> bytes | str:
    """The bytes of a file for :func:`decode`, or the path of a large one."""
    # OpenCV takes no undecodable bytes in a name.
    is_text = path == path.encode(errors='replace').decode()
    is_large = os.path.isfile(path) and os.path.getsize(path) > LARGE_FILE
    return path if is_large and is_text else read(path)


def _by_pillow(content: bytes | str, name: str) -> np.ndarray:
    pillow = need(*PACKAGES[PILLOW])
    try:
        with pillow.open(content if isinstance(content, str) else
                         io.BytesIO(content), formats=FORMATS) as image:
            return from_pillow(image, name)
    # Old versions do not know all formats.
    except (pillow.UnidentifiedImageError, KeyError) as error:
        raise UserError(f'{name} cannot be decoded: damaged or not an image'
                        ) from error
    except pillow.DecompressionBombError as error:
        raise UserError(f'{name} is too large: {first_line(error)}'
                        ) from error
    # Pillow raises all of these for damaged headers.
    except (OSError, SyntaxError, ValueError, ArithmeticError, MemoryError
            ) as error:
        raise UserError(f'{name} cannot be decoded: it is damaged '
                        f'({first_line(error)})') from error


def from_pillow(image: 'Image.Image', name: str) -> np.ndarray:
    """Convert an image of Pillow."""
    from PIL import Image, ImageOps
    check_depth(image, name)
    deep = image.mode.startswith('I')
    image = ImageOps.exif_transpose(image)
    if deep:
        # Pillow would turn all values above 255 white.
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return gray[..., None].repeat(3, 2)
    if image.mode == 'LA':
        alpha = image.convert('RGBA')
        image = Image.new('RGB', alpha.size, CANVAS)
        image.paste(alpha, mask=alpha.split()[3])
    return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])


def check_depth(image: 'Image.Image', name: str) -> None:
    """Refuse an image of Pillow whose range of values is unknown."""
    # Pillow stores 16 bits of these formats in 32.
    if image.mode == 'F' or (
            image.mode == 'I' and image.format not in ('PPM', 'PNG')):
        raise UserError(f'{name} {_too_deep(f"mode {image.mode}")}')


def _too_deep(kind: str) -> str:
    return (f'holds floats or 32-bit numbers ({kind}) of unknown range: '
            'convert it to 8 or 16 bits')


def upright_size(path: str) -> tuple[int, int]:
    """Height and width of an image, as OpenCV reads it."""
    from PIL import TiffImagePlugin
    with opened(path) as image:
        check_depth(image, f'image {path}')
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Pillow may have swapped the sides already.
            tags: Mapping = image.tag_v2
            width, height = tags[IMAGE_WIDTH], tags[IMAGE_LENGTH]
        else:
            tags = _exif(image, path)
            width, height = image.size
        # Orientations 5 to 8 swap width and height.
        rotated = tags.get(EXIF_ORIENTATION) in (5, 6, 7, 8)
        return (width, height) if rotated else (height, width)


def _exif(image: 'Image.Image', path: str) -> 'Image.Exif':
    """The EXIF tags of the formats in which OpenCV looks for them."""
    from PIL import Image
    tags = Image.Exif()
    if image.format in ('JPEG', 'MPO', 'WEBP'):
        tags.load(image.info.get('exif', b''))
    elif image.format == 'PNG':
        tags.load(_png_exif(path))
    return tags


def _png_exif(path: str) -> bytes:
    """The EXIF data of a PNG file, which may follow the pixels.

    Pillow would decode these.
    """
    with open(path, 'rb') as file:
        file.seek(len(PNG))
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack('>I4s', head)
            if kind == b'eXIf' and len(data := file.read(length)) == length:
                return data
            if kind == b'IEND':
                return b''
            file.seek(length + CHECKSUM, os.SEEK_CUR)
    raise OSError('it is truncated')


@contextmanager
def opened(path: str) -> 'Iterator[Image.Image]':
    """Open an image; any error of a damaged file becomes an OSError."""
    from PIL import Image
    if not Path(path).is_file():  # Opening a pipe would wait.
        raise FileNotFoundError(f'{path} is not a file')
    if not Path(path).stat().st_size:
        raise OSError('it is empty (0 bytes)')
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except (OSError, UserError):
        raise
    except Image.DecompressionBombError as error:
        raise OSError(first_line(error)) from error
    except Exception as error:
        raise OSError('damaged or not an image') from error


def difference_hash(path: str) -> 'np.ndarray | None':
    """Whether each pixel of a tiny copy is brighter than the last, as 1, -1.

    Damaged, huge and uniform images have none.
    """
    from PIL import Image
    with suppress(OSError, UserError, ValueError), opened(path) as image:
        if image.width * image.height > MOST_HASHED:
            return None
        # A JPEG file is decoded at an eighth of its size.
        image.draft('L', (8 * HASH_SIDE, 8 * HASH_SIDE))
        tiny = np.asarray(image.convert('L').resize(
            (HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX), np.float32)
        if tiny.std() >= FLAT:
            return np.where(np.diff(tiny).ravel() > 0, 1, -1).astype(
                np.float32)
    return None


def hash_distances(hashes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Numbers of bits in which hashes differ, a row for each of the first."""
    return (HASH_SIDE ** 2 - hashes @ others.T) / 2
