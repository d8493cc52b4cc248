"""Image files, read alike wherever one is read."""
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UserError, first_line
from .imports import need

if TYPE_CHECKING:
    from PIL import Image

    # A path, an array ``(h, w, 3)`` in BGR as OpenCV has it, or of PIL.
    Source = str | Path | np.ndarray | Image.Image

OPENCV, PILLOW = 'opencv', 'pillow'
PACKAGES = {OPENCV: ('cv2', 'opencv-python-headless'),
            PILLOW: ('PIL.Image', 'pillow')}
# Behind grey and alpha, as mmcv has it.
CANVAS = (124, 117, 104)
# What files of floats begin with: Radiance, PFM, OpenEXR.
FLOATING = (b'#?', b'PF', b'Pf', b'v/1\x01')


def read(source: 'Source', library: str) -> np.ndarray:
    """Read an image."""
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise UserError(f'image not found: {source}'
                            + (', which is no regular file'
                               if Path(source).exists() else ''))
        return decode(Path(source).read_bytes(), library, f'image {source}')
    if not isinstance(source, np.ndarray):
        if not hasattr(source, 'getexif'):
            raise UserError('an image has to be a path, an array or one of '
                            f'Pillow, not {type(source).__name__}')
        return from_pillow(source, 'the image')
    if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8:
        raise UserError(f'the image has the shape {source.shape} and the '
                        f'type {source.dtype}; needed is (height, width, 3) '
                        'in BGR, uint8')
    return source


def decode(content: bytes, library: str, name: str) -> np.ndarray:
    """Read what is in an image file, for all who read any.

    The pixels are those of mmcv's ``LoadImageFromFile``; 16 bits of gray
    become the upper 8 with Pillow, too, as with OpenCV.
    """
    if not content:
        raise UserError(f'{name} is empty (0 bytes)')
    if library == PILLOW:
        return _by_pillow(content, name)
    module = need(*PACKAGES[OPENCV])
    data = np.frombuffer(content, np.uint8)
    try:
        image = module.imdecode(data, module.IMREAD_COLOR)
        if image is None or content.startswith(FLOATING):
            raw = module.imdecode(data, module.IMREAD_UNCHANGED)
            if raw is not None and raw.dtype not in (np.uint8, np.uint16):
                raise UserError(f'{name} {_too_deep(str(raw.dtype))}')
    except module.error as error:
        reason = first_line(error).split('error: ')[-1]
        raise UserError(f'{name} cannot be decoded: {reason}') from error
    if image is None:
        raise UserError(f'{name} cannot be decoded: damaged or not an image')
    return image


def _by_pillow(content: bytes, name: str) -> np.ndarray:
    pillow = need(*PACKAGES[PILLOW])
    try:
        with pillow.open(io.BytesIO(content)) as image:
            return from_pillow(image, name)
    except pillow.UnidentifiedImageError as error:
        raise UserError(f'{name} cannot be decoded: damaged or not an image'
                        ) from error
    except pillow.DecompressionBombError as error:
        raise UserError(f'{name} is too large: {first_line(error)}'
                        ) from error
    # Damaged headers lead Pillow into all of these.
    except (OSError, SyntaxError, ValueError, ArithmeticError, MemoryError
            ) as error:
        raise UserError(f'{name} cannot be decoded: it is damaged '
                        f'({first_line(error)})') from error


def from_pillow(image: 'Image.Image', name: str) -> np.ndarray:
    """The pixels of Pillow's image."""
    from PIL import Image, ImageOps
    check_depth(image, name)
    deep = image.mode.startswith('I')
    image = ImageOps.exif_transpose(image)
    if deep:
        # Pillow would make white of all that is above 255.
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return gray[..., None].repeat(3, 2)
    if image.mode == 'LA':
        alpha = image.convert('RGBA')
        image = Image.new('RGB', alpha.size, CANVAS)
        image.paste(alpha, mask=alpha.split()[3])
    return np.ascontiguousarray(np.asarray(image.convert('RGB'))[..., ::-1])


def check_depth(image: 'Image.Image', name: str) -> None:
    """Refuse an image of Pillow whose values have no range that is known."""
    # Pillow keeps 16 bits of these formats in 32.
    if image.mode == 'F' or (
            image.mode == 'I' and image.format not in ('PPM', 'PNG')):
        raise UserError(f'{name} {_too_deep(f"mode {image.mode}")}')


def _too_deep(kind: str) -> str:
    return (f'holds floats or 32-bit numbers ({kind}), whose range is not '
            'known: convert it to 8 or 16 bits')
