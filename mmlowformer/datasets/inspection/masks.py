"""Inspect images with masks."""
import os
from collections import Counter
from collections.abc import Callable

import numpy as np

from ...errors import AnnotationErrors, shown, some_of
from ...visualization import drawing
from ..checks.masks import (
    IGNORED,
    TWO_VALUES,
    invalid_value,
    mask_error,
    only_first_and_ignored,
    read_mask,
)
from ..formats import ImageFolder
from ..paths import (
    CLASSES_FILE,
    check_distinct,
    mask_of,
    read_lines,
    shared_masks,
)
from ..tiling import read_scene
from .report import Inspection, evenly_spaced, hidden_note

# A kind of findings that a training accepts.
UNUSED_CLASS = 'class without a pixel'


def inspect_masks(folder: str, images: ImageFolder,
                  step: Callable[[], None]) -> Inspection:
    """Inspect images with masks."""
    file = os.path.join(folder, CLASSES_FILE)
    classes = read_lines(file)
    check_distinct(classes, file)
    errors = AnnotationErrors(warnings=[UNUSED_CLASS])
    palette = drawing.class_colors(len(classes))
    pixels: Counter[int] = Counter()
    holders: Counter[int] = Counter()
    previewed, panels = set(evenly_spaced(images.names)), []
    for name in images.names:
        mask = _checked_mask(mask_of(folder, name), name, images, errors,
                             len(classes))
        if mask is not None:
            values, numbers = np.unique(mask, return_counts=True)
            pixels.update(dict(zip(values.tolist(), numbers.tolist())))
            holders.update(values.tolist())
            if name in previewed:
                panels.append((name, drawing.draw_mask(
                    read_scene(images.path(name)), mask, palette)))
        step()
    for path, first, second in shared_masks(folder, images.names):
        errors.add('mask of two images', f'{path} of {first} and {second}')
    if only_first_and_ignored(pixels, len(classes)):
        errors.add(f'folder of masks that {TWO_VALUES}', folder)
    if pixels.keys() == {IGNORED}:
        errors.add(f'folder of masks that hold only {IGNORED} (no class), so '
                   'there is nothing to learn', folder)
    for index, label in enumerate(classes):
        if not pixels[index]:
            errors.add(UNUSED_CLASS, label)
    labeled = max(1, sum(pixels.values()) - pixels[IGNORED])
    fractions = some_of([f'{shown(name, 40)} {pixels[index] / labeled:.1%}'
                         for index, name in enumerate(classes)])
    if panels:
        # The first panel carries the legend.
        panels[0] = (panels[0][0], drawing.captioned(
            [('', panels[0][1])], list(zip(classes, palette))))
    return Inspection(
        [('Images', f'{len(images.names)} in {images.folder}'
          f'{hidden_note(images)}'),
         ('Pixels', f'{fractions}; {pixels[IGNORED]} without a class')],
        {name: holders[index] for index, name in enumerate(classes)},
        errors, panels,
        pixels={name: pixels[index] for index, name in enumerate(classes)})


def _checked_mask(path: str, name: str, images: ImageFolder,
                  errors: AnnotationErrors, count: int) -> np.ndarray | None:
    size = images.size(name, errors)
    if not os.path.exists(path):
        errors.add('image without a mask', name)
        return None
    with errors.collect('mask that cannot be read', path, OSError):
        if problem := invalid_value(path):
            errors.add('mask with a value that is not a class number',
                       f'{path}, {problem}')
            return None
        mask = read_mask(path).astype(np.uint8)
        error = mask_error(mask, size[::-1] if size else mask.shape[:2], count)
        if not error:
            return mask
        errors.add(f'mask that {error[0]}', f'{path}, {error[1]}')
    return None
