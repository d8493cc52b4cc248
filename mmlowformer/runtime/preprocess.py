"""Preprocessing images as in the checkpoint's test pipeline."""
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..utils.images import OPENCV, PACKAGES, PILLOW
from ..utils.imports import need
from .schema import PIXELS


class PreprocessedImage(NamedTuple):
    """A resized and padded image, ``(h, w, 3)`` in BGR."""

    image: np.ndarray
    # Height and width of the image file.
    original: tuple[int, int]
    # Scale factors of x and y.
    scale: tuple[float, float]
    # Height and width without padding.
    size: tuple[int, int]


def prepare(image: np.ndarray, steps: list[dict],
            size: tuple[int, int] | None = None,
            padding: Sequence[float] = (0., 0., 0.), multiple: int = 1
            ) -> PreprocessedImage:
    """Apply steps, fit an image into a size, and pad it."""
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
    return PreprocessedImage(image, (height, width), scale, inner)


def _fit(image: np.ndarray, size: tuple[int, int], steps: list[dict]
         ) -> np.ndarray:
    library = next((step['library'] for step in steps if 'library' in step),
                   OPENCV)
    height, width = image.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    new_width, new_height = (
        max(1, min(most, int(side * ratio + 0.5)))
        for side, most in zip((width, height), size[::-1]))
    return _scaled(image, (new_width, new_height), dict(
        library=library, interpolation='bilinear'))


def _resize(image: np.ndarray, step: dict) -> np.ndarray:
    height, width = image.shape[:2]
    size = (step['width'], step['height'])
    if step['keep_ratio']:
        ratio = min(max(size) / max(height, width),
                    min(size) / min(height, width))
        size = (int(width * ratio + 0.5), int(height * ratio + 0.5))
    return _scaled(image, size, step)


def _resize_by(image: np.ndarray, step: dict) -> np.ndarray:
    height, width = image.shape[:2]
    return _resize(image, dict(
        step, width=int(width * step['x'] + 0.5),
        height=int(height * step['y'] + 0.5)))


def _resize_edge(image: np.ndarray, step: dict) -> np.ndarray:
    height, width = image.shape[:2]
    edge, length = step['edge'], step['length']
    if (edge == 'width' or edge == 'short' and width < height
            or edge == 'long' and width > height):
        size = (length, int(length * height / width))
    else:
        size = (int(length * width / height), length)
    return _scaled(image, size, step)


def _resize_to_multiple(image: np.ndarray, step: dict) -> np.ndarray:
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
    """Resize to width and height, with the library of the test pipeline."""
    name = step['interpolation']
    module = need(*PACKAGES[step['library']])
    if size[0] * size[1] > PIXELS:
        raise UserError(f'an image of {image.shape[1]}x{image.shape[0]} '
                        f'pixels cannot be resized to {size[0]}x{size[1]}: '
                        f'at most {PIXELS} pixels are allowed')
    if min(size) < 1:
        raise UserError(f'an image of {image.shape[1]}x{image.shape[0]} '
                        'pixels is too elongated to be resized')
    if step['library'] == PILLOW:
        method = getattr(module.Resampling, name.upper())
        return np.array(module.fromarray(image).resize(size, method))
    flags = dict(nearest='NEAREST', bilinear='LINEAR', bicubic='CUBIC',
                 area='AREA', lanczos='LANCZOS4')
    return module.resize(image, size, interpolation=getattr(
        module, f'INTER_{flags[name]}'))


STEPS: dict[str, Callable[[np.ndarray, dict], np.ndarray]] = dict(
    resize=_resize, resize_by=_resize_by, resize_edge=_resize_edge,
    resize_to_multiple=_resize_to_multiple, center_crop=_center_crop)
