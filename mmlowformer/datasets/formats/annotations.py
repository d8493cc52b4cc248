"""Images and what is marked in them, whatever format that was in."""
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ...errors import UserError, shown
from ..checks.coco_annotations import LARGEST, run_lengths
from ..paths import files_below
from .image_folder import Faults, ImageFolder

# The fault that clipping mends.
BEYOND = 'box beyond its image'
# What formats that count pixels from 1, or round, may be beyond an image.
ROUNDING = 1.0


class Shape(NamedTuple):
    """An object that is marked in an image.

    Attributes:
        label (str): Its class.
        box (tuple[float, ...]): Left, top, right and bottom edge, in pixels
            from the top left corner of the image.
        segmentation (list | dict, optional): COCO's: polygons, each
            ``[x1, y1, x2, y2, ...]``, or run lengths.
        ignored (bool): Whether it counts neither as right nor as wrong.
        where (str): The place in the source, for messages.
    """

    label: str
    box: tuple[float, ...]
    segmentation: list | dict | None = None
    ignored: bool = False
    where: str = ''


class Picture(NamedTuple):
    """An image and its shapes.

    Attributes:
        name (str): Path below the folder of the images, with ``/``.
        width, height (int): In pixels, upright.
        shapes (list[Shape]): What is marked.
        extra (dict): What COCO's record of the image holds beside these.
    """

    name: str
    width: int
    height: int
    shapes: list[Shape]
    extra: dict[str, Any] = {}


def number(text: object) -> float:
    """A coordinate."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise ValueError(f'{shown(repr(text), 60)} is no number')
    try:
        value = float(text)
    except OverflowError:  # An integer of 400 digits.
        value = math.inf
    except ValueError as error:
        raise ValueError(f'{shown(repr(text), 60)} is no number') from error
    if not math.isfinite(value):
        raise ValueError(f'{shown(repr(text), 60)} is no finite number')
    if abs(value) >= LARGEST:
        raise ValueError(f'{value:g} is no number of pixels')
    return value


def gathered(shapes: dict[str, list[Shape]], images: ImageFolder,
             faults: Faults, *, labelled_only: bool = False) -> list[Picture]:
    """Pictures of the images that annotations name, and of the others."""
    pictures = []
    for name in images.names:
        if labelled_only and name not in shapes:
            continue
        size = images.size(name, faults)
        if size:
            pictures.append(Picture(name, *size, shapes.get(name, [])))
    return pictures


def checked_pictures(pictures: Iterable[Picture],
                     classes: Sequence[str] | None, faults: Faults, *,
                     clip: bool = False) -> tuple[list[Picture], int]:
    """Pictures whose boxes lie inside of them."""
    result, dropped = [], 0
    for picture in pictures:
        shapes = []
        for shape in picture.shapes:
            if not shape.label:
                faults.add('object without a class', shape.where)
            elif classes is not None and shape.label not in classes:
                faults.add('class that is not among the classes',
                           f'{shape.label!r} ({shape.where})')
            box = _inside(shape, picture, faults, clip)
            if box is None:
                dropped += 1
            else:
                shapes.append(shape._replace(box=box))
        result.append(picture._replace(shapes=shapes))
    return result, dropped


def _inside(shape: Shape, picture: Picture, faults: Faults, clip: bool
            ) -> tuple[float, ...] | None:
    left, top, right, bottom = shape.box
    where = f'{shape.where}, {_words(shape.box)}'
    if right <= left or bottom <= top:
        # Its corners may be swapped: that is no matter of clipping.
        faults.add('box without an area', where)
        return None
    width, height = picture.width, picture.height
    beyond = max(-left, -top, right - width, bottom - height)
    if beyond > ROUNDING and not clip:
        faults.add(BEYOND,
                   f'{where} of {width}x{height}')
    box = (max(left, 0.), max(top, 0.), min(right, float(width)),
           min(bottom, float(height)))
    return box if box[0] < box[2] and box[1] < box[3] else None


def _words(box: Sequence[float]) -> str:
    return ' '.join(f'{value:g}' for value in box)


def as_coco(pictures: Sequence[Picture], classes: Sequence[str]) -> dict:
    """The content of an annotation file in COCO's format."""
    identity = {name: index for index, name in enumerate(classes, 1)}
    images: list[dict] = []
    annotations: list[dict] = []
    for index, picture in enumerate(pictures, 1):
        images.append(dict(
            picture.extra, id=index, file_name=picture.name,
            width=picture.width, height=picture.height))
        for shape in picture.shapes:
            left, top, right, bottom = shape.box
            box = [left, top, right - left, bottom - top]
            annotations.append(dict(
                id=len(annotations) + 1, image_id=index,
                category_id=identity[shape.label],
                bbox=[_short(value) for value in box],
                area=_short(_area(shape)), iscrowd=int(shape.ignored),
                **(dict(segmentation=shape.segmentation)
                   if shape.segmentation else {})))
    return dict(images=images, annotations=annotations, categories=[
        dict(id=index, name=name) for name, index in identity.items()])


def _short(value: float) -> float | int:
    rounded = round(value, 3)
    return int(rounded) if rounded == int(rounded) else rounded


def _area(shape: Shape) -> float:
    left, top, right, bottom = shape.box
    if isinstance(shape.segmentation, dict):
        return sum(run_lengths(shape.segmentation['counts'])[1::2])
    if isinstance(shape.segmentation, list):
        return sum(cv2.contourArea(np.float32(polygon).reshape(-1, 2))
                   for polygon in shape.segmentation)
    return (right - left) * (bottom - top)


def box_around(polygons: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """The box that holds polygons."""
    points = np.concatenate([np.reshape(polygon, (-1, 2))
                             for polygon in polygons])
    return (*points.min(0).tolist(), *points.max(0).tolist())


def annotation_files(source: str, suffix: str) -> list[Path]:
    """Files of annotations."""
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f'{source} is not there')
    found, _ = files_below(path, (suffix, ))
    if not found:
        raise UserError(f'{source} holds no file that ends in {suffix}')
    return [path / name for name in found]


def agreed(named: str | None, own: str | None, file: Path, faults: Faults
           ) -> str | None:
    """The image that an annotation file is about."""
    if named and own and named != own:
        faults.add('file that is called like one image and names another',
                   f'{file}: {named}')
    return named or own
