"""Draw segmentation masks from polygons."""
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserError
from ..utils.files import new_folder, write_lines
from .checks.masks import IGNORED
from .formats.annotations import AnnotatedImage, Annotation
from .paths import CLASSES_FILE


def write_masks(annotated: Sequence[AnnotatedImage], classes: Sequence[str],
                folder: str | Path, background: str | None,
                step: Callable[[], None]) -> list[str]:
    """Write a mask for each image, and return the names of its values."""
    names = [*([background] if background else []), *classes]
    if len(set(names)) < len(names):
        raise UserError(f'the background has the name of a class, '
                        f'{background!r}: rename it with --background NAME')
    if len(names) > IGNORED:
        raise UserError(f'a mask has room for {IGNORED} classes, not '
                        f'{len(names)}')
    values = {name: index for index, name in enumerate(names)}
    with new_folder(folder) as root:
        for image in annotated:
            mask = draw_mask_of(image, values, 0 if background else IGNORED)
            file = root / f'{image.name}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(file)
            step()
        write_lines(root / CLASSES_FILE, names)
    return names


def draw_mask_of(image: AnnotatedImage, values: dict[str, int], fill: int
                 ) -> np.ndarray:
    """Draw the mask of an image; later annotations cover earlier ones."""
    mask = np.full((image.height, image.width), fill, np.uint8)
    for item in image.annotations:
        inside = decode_mask(item, image.height, image.width)
        mask[inside] = IGNORED if item.ignored else values[item.label]
    return mask


def decode_mask(item: Annotation, height: int, width: int) -> np.ndarray:
    """Pixels of an annotation, as pycocotools draws polygons."""
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise UserError('masks need pycocotools: pip install pycocotools'
                        ) from error
    if not item.segmentation:
        raise UserError(f'{item.where} is a box without a polygon; masks need '
                        'polygons')
    runs = item.segmentation
    if isinstance(runs, list):
        runs = coco.merge(coco.frPyObjects(
            [list(map(float, polygon)) for polygon in runs], height, width))
    elif isinstance(runs['counts'], list):
        runs = coco.frPyObjects(runs, height, width)
    return coco.decode(runs).astype(bool)
