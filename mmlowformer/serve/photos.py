"""What a browser sends is looked at before it is decoded."""
import io

from PIL import Image

from ..errors import UserError, first_line
from .limits import Limits

FORMATS = ('AVIF', 'BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')


def check_image(content: bytes, limits: Limits) -> None:
    """Refuse what no photo is, and what is too large to be decoded."""
    width, height = _size(content)
    if width * height > limits.pixels:
        raise UserError(f'the image has {width}x{height} pixels; '
                        f'{limits.megapixels:g} million are the limit')
    if max(width, height) > limits.elongation * min(width, height):
        raise UserError(f'the image has {width}x{height} pixels: one side may '
                        f'be {limits.elongation:g} times the other at most')


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
