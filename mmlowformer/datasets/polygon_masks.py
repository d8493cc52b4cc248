"""Masks for segmentation, made of polygons."""
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserError
from ..utils.files import new_folder, write_lines
from .checks.masks import IGNORED
from .formats.annotations import Picture, Shape
from .paths import CLASSES_FILE


def write_masks(pictures: Sequence[Picture], classes: Sequence[str],
                folder: str | Path, background: str | None,
                step: Callable[[], None]) -> list[str]:
    """Write a mask for each image, and the names of the values."""
    names = [*([background] if background else []), *classes]
    if len(set(names)) < len(names):
        raise UserError(f'there is a class {background!r} among the objects: '
                        'name the others with --background NAME')
    if len(names) > IGNORED:
        raise UserError(f'a mask has room for {IGNORED} classes, these are '
                        f'{len(names)}')
    values = {name: index for index, name in enumerate(names)}
    with new_folder(folder) as root:
        for picture in pictures:
            mask = mask_of_shapes(picture, values,
                                  0 if background else IGNORED)
            file = root / f'{picture.name}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(file)
            step()
        write_lines(root / CLASSES_FILE, names)
    return names


def mask_of_shapes(picture: Picture, values: dict[str, int], other: int
                   ) -> np.ndarray:
    """The mask of an image."""
    mask = np.full((picture.height, picture.width), other, np.uint8)
    for shape in picture.shapes:
        inside = region(shape, picture.height, picture.width)
        mask[inside] = IGNORED if shape.ignored else values[shape.label]
    return mask


def region(shape: Shape, height: int, width: int) -> np.ndarray:
    """The pixels of a shape, as COCO counts them."""
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise UserError('masks are made with pycocotools: pip install '
                        'pycocotools') from error
    if not shape.segmentation:
        raise UserError(f'{shape.where} is a box without a polygon, of which '
                        'no mask can be made')
    runs = shape.segmentation
    if isinstance(runs, list):
        runs = coco.merge(coco.frPyObjects(
            [list(map(float, polygon)) for polygon in runs], height, width))
    elif isinstance(runs['counts'], list):
        runs = coco.frPyObjects(runs, height, width)
    return coco.decode(runs).astype(bool)
