"""Annotated images, independent of the annotation format."""
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ...errors import AnnotationErrors, shown
from ..checks.coco_annotations import (
    BEYOND,
    LARGEST,
    NO_EXTENT,
    ROUNDING,
    rle_counts,
)
from .image_folder import ImageFolder

# Relative coordinates outside 0 to 1 by no more are rounded ones.
FRACTION = 0.01
FRACTIONS = ('file with coordinates from 0 to 1, multiplied by the width and '
             'height of the image')


class Annotation(NamedTuple):
    """An annotated object."""

    label: str
    box: tuple[float, ...]  # left, top, right and bottom edge, in pixels
    segmentation: list | dict | None = None  # polygons or RLE, as in COCO
    ignored: bool = False  # as COCO's iscrowd
    where: str = ''  # place in the source, for messages


class AnnotatedImage(NamedTuple):
    """An image and its annotations."""

    name: str  # path below the folder of images, with /
    width: int  # in pixels, upright
    height: int
    annotations: list[Annotation]
    extra: dict[str, Any] = {}  # further keys of COCO's image record


# By the names of images.
Annotations = dict[str, list[Annotation]]


def number(text: object) -> float:
    """Convert a coordinate, or raise a ValueError."""
    value = math.inf
    if isinstance(text, (str, int, float)) and not isinstance(text, bool):
        with suppress(OverflowError, ValueError):
            value = float(text)
    if math.isnan(value) or abs(value) >= LARGEST:
        raise ValueError(f'{shown(repr(text), 60)} is not a finite number')
    return value


def are_fractions(items: Iterable[Iterable[Annotation]]) -> bool:
    """Whether all boxes are given relative to the size of their image."""
    some = False
    for item in chain.from_iterable(items):
        if min(item.box) < -FRACTION or max(item.box) > 1 + FRACTION:
            return False
        some = some or any(value % 1 for value in item.box)
    return some


def from_fractions(item: Annotation, size: tuple[int, int]) -> Annotation:
    """Multiply relative coordinates by the width and height."""
    return item._replace(
        box=tuple(value * size[index % 2]
                  for index, value in enumerate(item.box)),
        segmentation=[[value * size[index % 2]
                       for index, value in enumerate(polygon)]
                      for polygon in item.segmentation]
        if isinstance(item.segmentation, list) else item.segmentation)


def collect_images(annotations: Annotations, images: ImageFolder,
                   errors: AnnotationErrors, labeled_only: bool
                   ) -> list[AnnotatedImage]:
    """List the images of a folder with their annotations, if any."""
    return [AnnotatedImage(name, *size, annotations.get(name, []))
            for name in images.names
            if (name in annotations or not labeled_only)
            and (size := images.size(name, errors))]


def check_annotations(annotated: Iterable[AnnotatedImage],
                      classes: Sequence[str] | None, errors: AnnotationErrors,
                      *, clip: bool = False
                      ) -> tuple[list[AnnotatedImage], int]:
    """Clip boxes to their images; also returns how many were dropped."""
    known = None if classes is None else set(classes)
    result, dropped = [], 0
    for image in annotated:
        kept = []
        for item in image.annotations:
            if not item.label:
                errors.add('object without a class', item.where)
            elif known is not None and item.label not in known:
                errors.add('unknown class',
                           f'{shown(repr(item.label), 60)} ({item.where})')
            box = _clipped(item, image, errors, clip)
            if box is None:
                dropped += 1
            else:
                # Of millions, there is no room for a copy.
                kept.append(item if box == item.box else
                            item._replace(box=box))
        result.append(image._replace(annotations=kept))
    return result, dropped


def _clipped(item: Annotation, image: AnnotatedImage,
             errors: AnnotationErrors, clip: bool
             ) -> tuple[float, ...] | None:
    left, top, right, bottom = item.box
    if right <= left or bottom <= top:
        # Swapped corners: clipping does not fix them.
        errors.add(NO_EXTENT, _place(item))
        return None
    width, height = image.width, image.height
    beyond = max(-left, -top, right - width, bottom - height)
    if beyond > ROUNDING and not clip:
        errors.add(BEYOND, f'{_place(item)} of {width}x{height}')
    box = (max(left, 0.), max(top, 0.), min(right, float(width)),
           min(bottom, float(height)))
    return box if box[0] < box[2] and box[1] < box[3] else None


def _place(item: Annotation) -> str:
    return f'{item.where}, ' + ' '.join(f'{value:g}' for value in item.box)


def as_coco(annotated: Sequence[AnnotatedImage], classes: Sequence[str]
            ) -> dict:
    """Convert to the content of a COCO annotation file."""
    category_ids = {name: index for index, name in enumerate(classes, 1)}
    images: list[dict] = []
    annotations: list[dict] = []
    for index, image in enumerate(annotated, 1):
        images.append(dict(image.extra, id=index, file_name=image.name,
                           width=image.width, height=image.height))
        for item in image.annotations:
            left, top, right, bottom = item.box
            box = [left, top, right - left, bottom - top]
            annotations.append(dict(
                id=len(annotations) + 1, image_id=index,
                category_id=category_ids[item.label],
                bbox=[_rounded(value) for value in box],
                area=_rounded(area_of(item)), iscrowd=int(item.ignored),
                **(dict(segmentation=item.segmentation)
                   if item.segmentation else {})))
    return dict(images=images, annotations=annotations, categories=[
        dict(id=index, name=name) for name, index in category_ids.items()])


def _rounded(value: float) -> float | int:
    rounded = round(value, 3)
    return int(rounded) if rounded == int(rounded) else rounded


def area_of(item: Annotation) -> float:
    """Pixels of the segmentation or, without one, of the box."""
    left, top, right, bottom = item.box
    if isinstance(item.segmentation, dict):
        return sum(rle_counts(item.segmentation['counts'])[1::2])
    if isinstance(item.segmentation, list):
        return sum(cv2.contourArea(np.float32(polygon).reshape(-1, 2))
                   for polygon in item.segmentation)
    return (right - left) * (bottom - top)


def box_around(polygons: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """Bounding box of polygons."""
    points = np.concatenate([np.reshape(polygon, (-1, 2))
                             for polygon in polygons])
    return (*points.min(0).tolist(), *points.max(0).tolist())


def check_same_image(named: str | None, own: str | None, file: Path,
                     errors: AnnotationErrors) -> str | None:
    """Find the image of an annotation file by its content or its name."""
    if named and own and named != own:
        errors.add('file that is named like one image and refers to another',
                   f'{file}: {named}')
    return named or own
