"""Statistics, errors and a preview of a custom data set."""
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import NamedTuple
from zlib import crc32

import numpy as np
from mmengine.config import Config
from PIL import Image

from ..errors import (
    AnnotationErrors,
    UserError,
    printable,
    shown,
    some_of,
)
from ..visualization import drawing
from .anchor_fit import against_anchors
from .checks.class_folders import class_folders, label_mismatch, read_labels
from .checks.masks import (
    IGNORED,
    TWO_VALUES,
    invalid_value,
    mask_error,
    only_first_and_ignored,
    read_mask,
)
from .formats import AnnotatedImage, ImageFolder
from .paths import (
    CLASSES_FILE,
    check_distinct,
    mask_of,
    read_lines,
    shared_masks,
)
from .tiling import read_scene

# Images of the preview.
MOST_SHOWN = 24
PARTS = ('train', 'val', 'test')
# Rows of the table of classes; the most and least frequent are shown.
MOST_CLASSES = 20
# Kinds of findings that a training accepts.
UNUSED_CLASS, EMPTY_FOLDER = 'class without a pixel', 'class without images'
OUTSIDE, IN_TWO = 'image outside the class folders', 'image in two classes'


class Inspection(NamedTuple):
    """Results of an inspection."""

    lines: list[tuple[str, str]]  # labels and texts
    counts: dict[str, int]  # of each class
    errors: AnnotationErrors
    panels: list  # captions and images of the preview


def inspect_boxes(annotated: Sequence[AnnotatedImage], classes: Sequence[str],
                  images: ImageFolder, errors: AnnotationErrors,
                  cfg: Config | None, step: Callable[[], None]) -> Inspection:
    """Inspect images with boxes."""
    boxes = [item for image in annotated for item in image.annotations]
    counts = Counter(item.label for item in boxes)
    per_image = [len(image.annotations) for image in annotated] or [0]
    empty = sum(not image.annotations for image in annotated)
    lines = [
        ('Images', f'{len(annotated)} in {images.folder}, '
         f'{_sizes(annotated)}, {empty} without boxes{hidden_note(images)}'),
        ('Boxes', f'{len(boxes)}, {sum(item.ignored for item in boxes)} of '
         f'them ignored; median {median(per_image):g} per image, at most '
         f'{max(per_image)}'),
        *against_anchors(annotated, cfg)]
    palette = drawing.class_colors(len(classes))
    numbers = {name: number for number, name in enumerate(classes)}
    panels = []
    for image in _evenly_spaced(annotated):
        panels.append((image.name, _draw(image, numbers, images, palette)))
        step()
    return Inspection(lines, {name: counts[name] for name in classes}, errors,
                    panels)


def _evenly_spaced(items: Sequence) -> list:
    return list(items[::max(1, -(-len(items) // MOST_SHOWN))])


def hidden_note(images: ImageFolder) -> str:
    """Tell how many hidden images were left out."""
    return f'; {images.hidden} hidden left out' if images.hidden else ''


def _sizes(annotated: Sequence[AnnotatedImage]) -> str:
    if not annotated:
        return 'none readable'
    low, high = (f'{image.width}x{image.height}' for image in (
        choose(annotated, key=lambda image: image.width * image.height)
        for choose in (min, max)))
    return low if low == high else f'{low} to {high}'


def _draw(image: AnnotatedImage, numbers: dict[str, int],
          images: ImageFolder, palette: list[tuple]) -> Image.Image:
    items = image.annotations
    return drawing.draw_boxes(
        read_scene(images.path(image.name)), drawing.Boxes(
            np.array([item.box for item in items]).reshape(-1, 4),
            [numbers[item.label] for item in items],
            [item.label for item in items],
            [not item.ignored for item in items]), palette)


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
    previewed, panels = set(_evenly_spaced(images.names)), []
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
        errors, panels)


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


def inspect_folders(folder: str, step: Callable[[], None]) -> Inspection:
    """Inspect a folder of images per class."""
    images = ImageFolder(folder)
    errors = AnnotationErrors(warnings=[EMPTY_FOLDER, OUTSIDE, IN_TWO])
    classes = class_folders(folder)
    counts: Counter[str] = Counter()
    annotated = []
    for name in images.names:
        label, _, rest = name.partition('/')
        if not rest:
            errors.add(OUTSIDE, name)
        size = images.size(name, errors)
        if size and rest:
            counts[label] += 1
            annotated.append(AnnotatedImage(name, *size, []))
        step()
    for name in classes:
        if not counts[name]:
            errors.add(EMPTY_FOLDER, name)
    for mismatch in _label_mismatches(folder, classes):
        errors.add('list whose class numbers differ from the folders',
                   mismatch)
    _add_copies([image.name for image in annotated], images, errors)
    panels = [(image.name, Image.fromarray(read_scene(
        images.path(image.name)))) for image in _evenly_spaced(annotated)]
    return Inspection(
        [('Images', f'{len(annotated)} in {folder}, {_sizes(annotated)}'
          f'{hidden_note(images)}')],
        {name: counts[name] for name in classes}, errors, panels)


def _label_mismatches(folder: str, classes: list[str]) -> Iterator[str]:
    """Compare the lists that ``split`` wrote beside a folder."""
    for part in PARTS:
        path = os.path.join(os.path.dirname(os.path.abspath(folder)),
                            f'{part}.txt')
        # A list may be missing, or of another kind.
        with suppress(UserError):
            if mismatch := label_mismatch(read_labels(path), classes):
                yield f'{path}: {mismatch}'


def _add_copies(names: Sequence[str], images: ImageFolder,
                errors: AnnotationErrors) -> None:
    """Find images that lie in the folders of two classes."""
    similar = defaultdict(list)
    for name in names:
        with open(images.path(name), 'rb') as file:
            size = os.fstat(file.fileno()).st_size
            similar[size, crc32(file.read(4096))].append(name)
    for group in similar.values():
        first: dict[bytes, str] = {}
        for name in group if len(group) > 1 else ():
            content = Path(images.path(name)).read_bytes()
            other = first.setdefault(sha256(content).digest(), name)
            if other.split('/')[0] != name.split('/')[0]:
                errors.add(IN_TWO, f'{other} and {name}')


def class_lines(counts: dict[str, int]) -> list[str]:
    """Table of classes and their counts, the most frequent first."""
    ordered = [(printable(name), count) for name, count in
               sorted(counts.items(), key=lambda item: -item[1])]
    width = max((len(name) for name, _ in ordered), default=0)
    lines = [f'{name:<{width}}  {count}' for name, count in ordered]
    if len(lines) <= MOST_CLASSES:
        return lines
    half = MOST_CLASSES // 2
    return [*lines[:half], f'... {len(lines) - 2 * half} more ...',
            *lines[-half:]]


def write_preview(panels: list, path: str) -> None:
    """Write the images of an inspection."""
    try:
        drawing.contact_sheet(panels).save(path)
    except (OSError, ValueError) as error:
        raise UserError(f'--preview {path} cannot be written: {error}'
                        ) from error
