"""From the bytes that a browser sends to an image."""
import io

import cv2
import mmcv
import numpy as np
from PIL import Image

from ..errors import UserError, first_line
from .limits import Limits

FORMATS = ('AVIF', 'BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')


def decode(content: bytes, limits: Limits) -> np.ndarray:
    """Decode a photo as the transforms of the libraries do.

    Args:
        content (bytes): The file.
        limits (Limits): What is refused, by the header alone.

    Returns:
        np.ndarray: ``(h, w, 3)``, BGR, uint8, upright.

    Raises:
        UserError: If it is too large, damaged, or no image.
    """
    width, height = _size(content)
    if width * height > limits.pixels:
        raise UserError(f'the image has {width}x{height} pixels; '
                        f'{limits.megapixels:g} million are the limit')
    try:
        image = mmcv.imfrombytes(content)
    except cv2.error:
        image = None
    if image is None:
        raise UserError('the image cannot be decoded: it is damaged')
    return image


def _size(content: bytes) -> tuple[int, int]:
    if not content:
        raise UserError('the file is empty (0 bytes)')
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.size
    except Image.UnidentifiedImageError as error:
        raise UserError('the file is no image of a kind that is known here: '
                        f'{", ".join(FORMATS)}') from error
    except Image.DecompressionBombError as error:
        raise UserError(f'the image is too large: {first_line(error)}'
                        ) from error
    # A made-up header can lead Pillow into any error.
    except Exception as error:
        raise UserError('the image cannot be decoded: its header is damaged'
                        ) from error
