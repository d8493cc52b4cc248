"""Images on their way into an exported model, as the checkpoint had them."""
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import UserError, first_line
from ..utils.imports import need
from .schema import PIXELS

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


class Prepared(NamedTuple):
    """An image that can be predicted.

    Attributes:
        image (np.ndarray): ``(h, w, 3)``, BGR, uint8, resized and padded.
        original (tuple[int, int]): Height and width before.
        scale (tuple[float, float]): By how much x and y were stretched.
        size (tuple[int, int]): Height and width of it without padding.
    """

    image: np.ndarray
    original: tuple[int, int]
    scale: tuple[float, float]
    size: tuple[int, int]


def read(source: 'Source', library: str) -> np.ndarray:
    """Read an image.

    Args:
        source (Source): The image.
        library (str): ``opencv`` or ``pillow``; they decode differently.

    Returns:
        np.ndarray: ``(h, w, 3)``, BGR, uint8, upright.

    Raises:
        UserError: If it cannot be read.
    """
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

    Args:
        content (bytes): Of the file.
        library (str): ``opencv`` or ``pillow``.
        name (str): What an error begins with.

    Returns:
        np.ndarray: ``(h, w, 3)``, BGR, uint8, upright; of several frames the
        first one.

    Raises:
        UserError: If it cannot be decoded, or holds floats or 32 bits.
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
        raise UserError(f'{name} cannot be decoded: it is damaged or no image')
    return image


def _by_pillow(content: bytes, name: str) -> np.ndarray:
    pillow = need(*PACKAGES[PILLOW])
    try:
        with pillow.open(io.BytesIO(content)) as image:
            return from_pillow(image, name)
    except pillow.UnidentifiedImageError as error:
        raise UserError(f'{name} cannot be decoded: it is damaged or no image'
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
    """The pixels of Pillow's image.

    Args:
        image (Image.Image): The image.
        name (str): What an error begins with.

    Returns:
        np.ndarray: ``(h, w, 3)``, BGR, uint8, upright.

    Raises:
        UserError: If its values have no range that is known.
    """
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
    """Refuse an image of Pillow whose values have no range that is known.

    Args:
        image (Image.Image): The image, which need not be loaded.
        name (str): What the error begins with.

    Raises:
        UserError: If it holds floats or 32 bits.
    """
    # Pillow keeps 16 bits of these formats in 32.
    if image.mode == 'F' or (
            image.mode == 'I' and image.format not in ('PPM', 'PNG')):
        raise UserError(f'{name} {_too_deep(f"mode {image.mode}")}')


def _too_deep(kind: str) -> str:
    return (f'holds floats or 32-bit numbers ({kind}), whose range is not '
            'known: convert it to 8 or 16 bits')


def prepare(image: np.ndarray, steps: list[dict],
            size: tuple[int, int] | None = None,
            padding: tuple[float, ...] = (0., 0., 0.), multiple: int = 1
            ) -> Prepared:
    """Resize an image as the checkpoint's test did.

    Args:
        image (np.ndarray): ``(h, w, 3)``, BGR, uint8.
        steps (list[dict]): ``prepare`` of the description.
        size (tuple[int, int], optional): Height and width that the model
            insists on: the image is made to fit and padded at the right and
            at the bottom. Defaults to any.
        padding (tuple[float, ...]): BGR of what is added.
        multiple (int): Sides are filled up to multiples of it. Defaults to
            1: they stay.

    Returns:
        Prepared: The image and how it came about.
    """
    height, width = image.shape[:2]
    for step in steps:
        image = STEPS[step['step']](image, step)
    if size is not None and image.shape[:2] != size:
        image = _fit(image, size, steps)
    scale = (image.shape[1] / width, image.shape[0] / height)
    inner = image.shape[:2]
    outer = size or tuple(-(-side // multiple) * multiple for side in inner)
    if inner != outer:
        canvas = np.empty((*outer, 3), np.float32)
        canvas[:] = padding
        canvas[:inner[0], :inner[1]] = image
        image = canvas
    return Prepared(image, (height, width), scale, inner)


def _fit(image: np.ndarray, size: tuple[int, int], steps: list[dict]
         ) -> np.ndarray:
    library = next((step['library'] for step in steps if 'library' in step),
                   OPENCV)
    height, width = image.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    fitting = [max(1, min(most, int(side * ratio + 0.5)))
               for side, most in zip((width, height), size[::-1])]
    return _scaled(image, (fitting[0], fitting[1]), dict(
        library=library, interpolation='bilinear'))


def _resize(image: np.ndarray, step: dict) -> np.ndarray:
    """To a size, or as large as fits into it."""
    height, width = image.shape[:2]
    size = (step['width'], step['height'])
    if step['keep_ratio']:
        ratio = min(max(size) / max(height, width),
                    min(size) / min(height, width))
        size = (int(width * ratio + 0.5), int(height * ratio + 0.5))
    return _scaled(image, size, step)


def _resize_by(image: np.ndarray, step: dict) -> np.ndarray:
    """By factors."""
    height, width = image.shape[:2]
    return _resize(image, dict(
        step, width=int(width * step['x'] + 0.5),
        height=int(height * step['y'] + 0.5)))


def _resize_edge(image: np.ndarray, step: dict) -> np.ndarray:
    """One side to a length, the other one along with it."""
    height, width = image.shape[:2]
    edge, length = step['edge'], step['length']
    if (edge == 'width' or edge == 'short' and width < height
            or edge == 'long' and width > height):
        size = (length, int(length * height / width))
    else:
        size = (int(length * width / height), length)
    return _scaled(image, size, step)


def _resize_to_multiple(image: np.ndarray, step: dict) -> np.ndarray:
    """Up to multiples."""
    height, width = image.shape[:2]
    return _scaled(image, (
        math.ceil(width / step['x']) * step['x'],
        math.ceil(height / step['y']) * step['y']), step)


def _center_crop(image: np.ndarray, step: dict) -> np.ndarray:
    height, width = image.shape[:2]
    rows, columns = min(step['height'], height), min(step['width'], width)
    top = max(0, round((height - rows) / 2))
    left = max(0, round((width - columns) / 2))
    return image[top:top + rows, left:left + columns]


def _scaled(image: np.ndarray, size: tuple[int, int], step: dict
            ) -> np.ndarray:
    """Another size, width first, with the library that the test used."""
    name = step['interpolation']
    module = need(*PACKAGES[step['library']])
    if size[0] * size[1] > PIXELS:
        raise UserError(f'an image of {image.shape[1]}x{image.shape[0]} '
                        f'pixels cannot be resized to {size[0]}x{size[1]}: '
                        f'{PIXELS} pixels are the most')
    if min(size) < 1:
        raise UserError(f'an image of {image.shape[1]}x{image.shape[0]} '
                        'pixels cannot be resized: nothing of it would be '
                        'left')
    if step['library'] == PILLOW:
        way = getattr(module.Resampling, name.upper())
        return np.array(module.fromarray(image).resize(size, way))
    ways = dict(nearest='NEAREST', bilinear='LINEAR', bicubic='CUBIC',
                area='AREA', lanczos='LANCZOS4')
    return module.resize(image, size, interpolation=getattr(
        module, f'INTER_{ways[name]}'))


STEPS: dict[str, Callable[[np.ndarray, dict], np.ndarray]] = dict(
    resize=_resize, resize_by=_resize_by, resize_edge=_resize_edge,
    resize_to_multiple=_resize_to_multiple, center_crop=_center_crop)
