"""Shapes of labeling tools, as polygons: lists of x, y, x, y, ..."""
import io
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from .annotations import Annotation, box_around, number

# Corners of the polygon that replaces an ellipse.
CORNERS = 64
ORIENTED = 'oriented box, replaced by the upright box around it'


class Part(NamedTuple):
    """A shape, which may be one of several parts of an object."""

    label: str
    polygons: list[list[float]]
    where: str
    group: Hashable = None  # parts of an object share it


def join_parts(parts: Iterable[Part]) -> list[Annotation]:
    """Make an object of the parts of a class that share a group."""
    objects: dict[tuple, Part] = {}
    for index, part in enumerate(parts):
        key = (part.label, *((None, index) if part.group is None else
                             (part.group, )))
        objects.setdefault(key, part._replace(polygons=[])
                           ).polygons.extend(part.polygons)
    return [Annotation(part.label, box_around(part.polygons), part.polygons,
                       where=part.where) for part in objects.values()]


def polygon_of(points: object) -> list[float]:
    """Flatten a list of pairs, or raise a ValueError."""
    if not isinstance(points, list) or not all(
            isinstance(point, (list, tuple)) and len(point) == 2
            for point in points):
        raise ValueError('its points are not a list of pairs')
    if len(points) < 3:
        raise ValueError(f'it has {len(points)} points')
    return [number(value) for point in points for value in point]


def rectangle(left: float, top: float, right: float, bottom: float
              ) -> list[float]:
    """Corners of a box."""
    return [left, top, right, top, right, bottom, left, bottom]


def ellipse(x: float, y: float, radius_x: float, radius_y: float,
            degrees: float = 0) -> list[float]:
    """Points of an ellipse, turned clockwise."""
    angles = np.arange(CORNERS) * 2 * np.pi / CORNERS
    points = np.stack([x + radius_x * np.cos(angles),
                       y + radius_y * np.sin(angles)], 1)
    return rotated(points.reshape(-1).tolist(), (x, y), degrees)


def rotated(polygon: Sequence[float], center: tuple[float, float],
            degrees: float) -> list[float]:
    """Turn a polygon clockwise, as seen in an image."""
    if not degrees:
        return list(polygon)
    cosine, sine = (function(math.radians(degrees))
                    for function in (math.cos, math.sin))
    offsets = np.reshape(polygon, (-1, 2)) - center
    turned = offsets @ [[cosine, sine], [-sine, cosine]] + center
    return turned.reshape(-1).tolist()


def is_upright(polygon: Sequence[float]) -> bool:
    """Whether four corners are those of a box without rotation."""
    points = np.reshape(polygon, (-1, 2))
    sides = np.abs(points - np.roll(points, 1, axis=0))
    return bool((sides.min(1) <= 1e-3).all())


def around_mask(mask: np.ndarray, left: float, top: float
                ) -> list[list[float]]:
    """Polygons along the edges of a mask's pixels, holes filled."""
    # Contours run through pixels: twice the size, the outer half is theirs.
    large = cv2.resize((mask > 0).astype(np.uint8), None, fx=2, fy=2,
                       interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL,
                                   cv2.CHAIN_APPROX_SIMPLE)
    polygons = [((contour.reshape(-1, 2) + 1) // 2 + (left, top))
                for contour in contours]
    if not polygons:
        raise ValueError('its mask is empty')
    return [polygon.reshape(-1).tolist() for polygon in polygons]


def mask_from_png(content: bytes, most: tuple[int, int]) -> np.ndarray:
    """Decode a mask that is not larger than its image, width and height."""
    try:
        image = Image.open(io.BytesIO(content), formats=('PNG', ))
        size, mask = image.size, None
        if size[0] <= most[0] and size[1] <= most[1]:
            mask = np.array(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError('its mask is no image') from error
    if mask is None:
        raise ValueError(f'its mask has {size[0]}x{size[1]} pixels, the image '
                         f'{most[0]}x{most[1]}')
    return mask.reshape(*mask.shape[:2], -1)[..., -1]
