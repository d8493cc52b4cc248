"""What is in data of one's own, and whether a model can learn it."""
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
import torch
from mmengine.config import Config
from PIL import Image

from ..errors import UserError, first_line, printable, shown, some_of
from ..visualization.drawing import (
    Boxes,
    captioned,
    class_colors,
    contact_sheet,
    draw_boxes,
    draw_mask,
)
from .anchor_fit import against_anchors
from .checks.class_folders import class_folders, misnumbered, read_labels
from .checks.masks import (
    IGNORED,
    TWO_VALUES,
    fault_of_values,
    only_first_and_ignored,
    read_mask,
)
from .formats.annotations import Picture
from .formats.image_folder import Faults, ImageFolder
from .paths import (
    CLASSES_FILE,
    check_unlike,
    mask_of,
    read_lines,
    shared_masks,
)
from .tiling import read_scene

# Pictures on the sheet.
MOST_SHOWN = 24
# Of a split.
PARTS = ('train', 'val', 'test')
# Rows of a table; of more classes the most and least frequent are of interest.
MOST_CLASSES = 20


class Findings(NamedTuple):
    """What an inspection is going to say.

    Attributes:
        lines (list[tuple[str, str]]): Labels and texts.
        counts (dict[str, int]): Of each class.
        faults (Faults): What is wrong.
        panels (list): Captions and pictures for the sheet.
    """

    lines: list[tuple[str, str]]
    counts: dict[str, int]
    faults: Faults
    panels: list


def inspect_boxes(pictures: Sequence[Picture], classes: Sequence[str],
                  images: ImageFolder, faults: Faults, cfg: Config | None,
                  step: Callable[[], None]) -> Findings:
    """Look at images with boxes."""
    shapes = [shape for picture in pictures for shape in picture.shapes]
    counts = Counter(shape.label for shape in shapes)
    empty = sum(not picture.shapes for picture in pictures)
    ignored = sum(shape.ignored for shape in shapes)
    _add_doubles(pictures, faults)
    per_image = [len(picture.shapes) for picture in pictures] or [0]
    lines = [
        ('Images', f'{len(pictures)} in {images.folder}, {_sizes(pictures)}, '
         f'{empty} without boxes{hidden_note(images)}'),
        ('Boxes', f'{len(shapes)}, {ignored} of them to be ignored; '
         f'{median(per_image):g} in half of the images, at most '
         f'{max(per_image)}'),
        *against_anchors(pictures, cfg)]
    palette = class_colors(len(classes))
    panels = []
    for picture in _spread(pictures):
        panels.append((picture.name, _drawn(picture, classes, images,
                                            palette)))
        step()
    return Findings(lines, {name: counts[name] for name in classes}, faults,
                    panels)


def _spread(items: Sequence) -> list:
    """So many as there is room for, from all over."""
    stride = max(1, -(-len(items) // MOST_SHOWN))
    return list(items[::stride])


def hidden_note(images: ImageFolder) -> str:
    """What to say about images that were left out."""
    return f'; {images.hidden} hidden left out' if images.hidden else ''


def _sizes(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return 'none of them readable'
    sizes = sorted((picture.width * picture.height,
                    f'{picture.width}x{picture.height}')
                   for picture in pictures)
    low, high = sizes[0][1], sizes[-1][1]
    return low if low == high else f'{low} to {high}'


def _add_doubles(pictures: Sequence[Picture], faults: Faults) -> None:
    for picture in pictures:
        seen = Counter((shape.label, shape.box) for shape in picture.shapes)
        for (label, _), count in seen.items():
            if count > 1:
                faults.add('box that is there more than once',
                           f'{label} in {picture.name}')


def _drawn(picture: Picture, classes: Sequence[str], images: ImageFolder,
           palette: list[tuple]) -> Image.Image:
    image = read_scene(images.path(picture.name))
    labels = [list(classes).index(shape.label) for shape in picture.shapes]
    return draw_boxes(image, Boxes(
        torch.tensor([shape.box for shape in picture.shapes]).reshape(-1, 4),
        labels, [shape.label for shape in picture.shapes],
        [not shape.ignored for shape in picture.shapes]), palette)


def inspect_masks(folder: str, images: ImageFolder,
                  step: Callable[[], None]) -> Findings:
    """Look at images with masks."""
    file = os.path.join(folder, CLASSES_FILE)
    classes = read_lines(file)
    check_unlike(classes, file)
    faults, palette = Faults(), class_colors(len(classes))
    pixels: Counter[int] = Counter()
    holders: Counter[int] = Counter()
    drawn, panels = set(_spread(images.names)), []
    for name in images.names:
        mask = _mask(mask_of(folder, name), name, images, faults,
                     len(classes))
        if mask is not None:
            values, numbers = np.unique(mask, return_counts=True)
            pixels.update(dict(zip(values.tolist(), numbers.tolist())))
            holders.update(values.tolist())
            if name in drawn:
                panels.append((name, draw_mask(
                    read_scene(images.path(name)), mask, palette)))
        step()
    for path, first, second in shared_masks(folder, images.names):
        faults.add('mask of two images', f'{path} of {first} and {second}')
    if only_first_and_ignored(pixels, len(classes)):
        faults.add(f'folder of masks that {TWO_VALUES}', folder)
    for index, label in enumerate(classes):
        if not pixels[index]:
            faults.add('class without a pixel', label)
    labelled = sum(pixels.values()) - pixels[IGNORED]
    shares = some_of([
        f'{shown(name, 40)} {pixels[index] / max(1, labelled):.1%}'
        for index, name in enumerate(classes)])
    lines = [('Images', f'{len(images.names)} in {images.folder}'
              f'{hidden_note(images)}'),
             ('Pixels', f'{shares}; {pixels[IGNORED]} without a class')]
    legend = [(name, colour) for name, colour in zip(classes, palette)]
    if panels:
        # The colors are told once, below the first picture.
        panels[0] = (panels[0][0], captioned([('', panels[0][1])], legend))
    return Findings(lines, {name: holders[index] for index, name
                            in enumerate(classes)}, faults, panels)


def _mask(path: str, name: str, images: ImageFolder, faults: Faults,
          count: int) -> np.ndarray | None:
    size = images.size(name, faults)
    if not os.path.exists(path):
        faults.add('image without a mask', name)
        return None
    try:
        fault = fault_of_values(path)
        mask = read_mask(path)
    except OSError as error:
        faults.add('mask that cannot be read', f'{path}, {first_line(error)}')
        return None
    if fault:
        faults.add('mask with a value that is no class number',
                   f'{path}, {fault}')
        return None
    mask = mask.astype(np.uint8)
    if mask.ndim != 2:
        faults.add('mask with several channels', path)
        return None
    if size and mask.shape != size[::-1]:
        faults.add('mask of another size than its image', path)
        return None
    beyond = mask[(mask >= count) & (mask != IGNORED)]
    if beyond.size:
        faults.add(f'mask with a value beyond the {count} classes',
                   f'{path}, {int(beyond[0])}')
        return None
    return mask


def inspect_folders(folder: str, step: Callable[[], None]) -> Findings:
    """Look at a folder for each class."""
    images, faults = ImageFolder(folder), Faults()
    classes = class_folders(folder)
    if not classes:
        raise UserError(f'{folder} holds no folders, of which there has to '
                        'be one for each class')
    counts: Counter[str] = Counter()
    pictures = []
    for name in images.names:
        label, _, rest = name.partition('/')
        if not rest:
            faults.add('image in no class\'s folder', name)
        size = images.size(name, faults)
        if size and rest:
            counts[label] += 1
            pictures.append(Picture(name, *size, []))
        step()
    for name in classes:
        if not counts[name]:
            faults.add('class without images', name)
    for fault in _misnumbering(folder, classes):
        faults.add('list that numbers the folders in another way', fault)
    _add_copies([picture.name for picture in pictures], images, faults)
    panels = [(picture.name, Image.fromarray(read_scene(
        images.path(picture.name)))) for picture in _spread(pictures)]
    return Findings(
        [('Images', f'{len(pictures)} in {folder}, {_sizes(pictures)}'
          f'{hidden_note(images)}')],
        {name: counts[name] for name in classes}, faults, panels)


def _misnumbering(folder: str, classes: list[str]) -> Iterator[str]:
    """What lists say otherwise that ``split`` wrote beside a folder."""
    for part in PARTS:
        path = os.path.join(os.path.dirname(os.path.abspath(folder)),
                            f'{part}.txt')
        # One that is not there, or of another kind.
        with suppress(UserError):
            fault = misnumbered(read_labels(path), classes)
            if fault:
                yield f'{path}: {fault}'


def _add_copies(names: Sequence[str], images: ImageFolder, faults: Faults
                ) -> None:
    """What lies in the folders of two classes is of one of them at most."""
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
                faults.add('image that is in two classes',
                           f'{other} and {name}')


def class_lines(counts: dict[str, int]) -> list[str]:
    """Classes and how often each is there, the most frequent first."""
    ordered = [(printable(name), count) for name, count in
               sorted(counts.items(), key=lambda item: -item[1])]
    width = max((len(name) for name, _ in ordered), default=0)
    lines = [f'{name:<{width}}  {count}' for name, count in ordered]
    if len(lines) <= MOST_CLASSES:
        return lines
    half = MOST_CLASSES // 2
    return [*lines[:half], f'... {len(lines) - 2 * half} more ...',
            *lines[-half:]]


def write_sheet(panels: list, path: str) -> None:
    """Write the pictures of an inspection."""
    try:
        contact_sheet(panels).save(path)
    except (OSError, ValueError) as error:
        raise UserError(f'--sheet {path} cannot be written: {error}'
                        ) from error
