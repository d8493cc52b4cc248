"""Checks of COCO's annotation files, the same for each tool."""
import logging
import os
import shlex
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log
from PIL import Image

from ...errors import AnnotationErrors, UserError, first_line, shown
from ...utils.allocator import without_garbage_collection
from ...utils.images import OPENCV, read, upright_size
from ...utils.text import short
from ..paths import paths_of
from .check_datasets import Result, check_categories
from .coco_annotations import (
    BEYOND,
    BOM,
    DUPLICATE_ID,
    NO_EXTENT,
    NO_SIZE,
    ODD_CROWD,
    ODD_ID,
    READABLE,
    ROUNDING,
    box_of,
    find_errors,
    is_number,
    read_coco,
    read_to_load,
    segmentation_errors,
)

# A training compares the sizes of so many images, evenly spaced.
MOST_READ = 25_000
FIX = 'Fix the file, or remove these from it'
# Boxes may exceed an image by so many pixels without a word.
NEGLIGIBLE = 0.5
NO_ID, NO_AREA = (f'annotation without {key}, or with one that is not a '
                  'number' for key in ('id', 'area'))
NO_CROWD = 'annotation without iscrowd'
ZERO_ID = 'annotation with the id 0, which the metric counts as missed'
SIZE = 'size that differs from the image'
PATH = 'image that is at another path in its folder'
OVERSHOOT = 'box up to a pixel beyond its image'
DUPLICATE = 'duplicate box'
# Kinds that a training accepts.
WARNINGS = (ZERO_ID, OVERSHOOT, BEYOND, NO_EXTENT, DUPLICATE)
# The option of ``tools/data.py fix`` that fixes a kind, if it needs one.
FIXES = dict.fromkeys((
    DUPLICATE_ID, ODD_ID, ODD_CROWD, NO_SIZE, NO_ID, NO_AREA, NO_CROWD,
    ZERO_ID, SIZE, PATH, OVERSHOOT, BOM), '') | {
        BEYOND: '--clip', NO_EXTENT: '--clip', DUPLICATE: '--drop-duplicates'}


# Width and height in pixels.
Size = tuple[float, float]


class Use(NamedTuple):
    """What a data set is used for.

    Attributes:
        classes (Collection[str] | None): Names that are learned, or None for
            all.
        min_size (float): Images with a shorter side are left out.
        masks (bool): Whether segmentations are read.
        needs_boxes (bool): Whether it is useless without a box.
        most_images (int | None): Compare the sizes of so many.
        in_place (bool): Whether only this very file is used, not a copy.
    """

    classes: Collection[str] | None = None
    min_size: float = 0
    masks: bool = True
    needs_boxes: bool = True
    most_images: int | None = None
    in_place: bool = False


UNKNOWN_USE = Use()


class CocoFindings(AnnotationErrors):
    """Findings in a file, and the command that fixes them."""

    def __init__(self, path: str, folder: str | None, *, in_place: bool):
        super().__init__(warnings=WARNINGS)
        self._path, self._folder, self._in_place = path, folder, in_place

    def fix(self, *kinds: str) -> str:
        """A command that fixes these kinds, empty if none does."""
        fixed = [kind for kind in kinds or self.counts if kind in FIXES]
        if not fixed:
            return ''
        source = Path(short(self._path))
        out = source if self._in_place else source.with_name(
            f'{source.stem}-fixed.json')
        words = ['python', 'tools/data.py', 'fix', str(source), str(out)]
        if self._folder and not _same(self._folder, source.parent / 'images'):
            words += ['--images', short(self._folder)]
        options = {FIXES[kind] for kind in fixed} - {''}
        return shlex.join([*words, *sorted(options),
                           *(['--overwrite'] if self._in_place else [])])

    def check(self, source: str = '', remedy: str = FIX) -> None:
        """Raise a UserError if there are errors."""
        kinds = [item.kind for item in self.findings('error')]
        if kinds and (command := self.fix(*kinds)):
            remedy = (f'Run: {command}' if FIXES.keys() >= {*kinds} else
                      f'{remedy}. A part can be fixed by: {command}')
        super().check(source or self._path, remedy)

    def warning(self) -> str:
        """Describe the warnings in a line, empty if there are none."""
        lines = self.lines('warning')
        command = self.fix(*(item.kind for item in self.findings('warning')))
        return (f'{self._path}: {"; ".join(lines)}' + (
            f'. To fix this, run: {command}' if command else '')
        ) if lines else ''


def _same(one: str | Path, other: str | Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def check_coco(dataset: dict, classes: tuple,
               cfg: Config, dataloader: str) -> Result:
    """Make sure that categories are the classes, and that images exist."""
    return check_content(
        read_to_load(paths_of(dataset)['ann_file']), classes, dataset,
        'data_prefix.img', dataloader)


def check_coco_boxes(dataset: dict, classes: tuple | None,
                     cfg: Config, dataloader: str) -> Result:
    """Do what :func:`check_coco` does, whatever the categories are."""
    content = read_coco(paths_of(dataset)['ann_file'])
    return check_content(content, tuple(content['categories']), dataset,
                         'data_prefix.img', dataloader)


def check_content(content: dict, classes: tuple, dataset: dict, prefix: str,
                  dataloader: str) -> Result:
    """Do what :func:`check_coco` does, for a file that was read."""
    paths = paths_of(dataset)
    path, folder = paths['ann_file'], paths.get(prefix)
    check_categories(content, classes, path)
    tested = dataset.get('test_mode')
    found = find_in_coco(content, path, folder, Use(
        classes, 0 if tested else min_size_of(dataset), reads_masks(dataset),
        not (tested and dataloader.startswith('test')), MOST_READ,
        in_place=True))
    warnings = [*filter(None, [found.warning()])]
    if found.findings('error'):
        for text in warnings:
            print_log(text, 'current', logging.WARNING)
    found.check()
    return warnings, _paths(content, folder, path)


def min_size_of(dataset: dict) -> float:
    """The shorter side below which MMDetection leaves images out."""
    return (dataset.get('filter_cfg') or {}).get('min_size', 0)


def reads_masks(dataset: dict) -> bool:
    """Whether a step of the pipeline reads segmentations."""
    return any(isinstance(step, dict) and step.get('with_mask')
               for step in dataset.get('pipeline') or ())


@without_garbage_collection()
def find_in_coco(content: dict, path: str, folder: str | None = None,
                 use: Use = UNKNOWN_USE) -> CocoFindings:
    """Find all that is wrong in what ``parts_of`` returns."""
    found = CocoFindings(path, folder, in_place=use.in_place)
    if content['is_marked']:
        found.add(BOM, path)
    found.extend(find_errors(content, masks=False))
    readable = found.counts.keys() <= {*READABLE, BOM}
    for kind, example in segmentation_errors(content):
        found.add(kind, example)
        if not use.masks:
            found.warnings.add(kind)
    found.extend(_missing_keys(content))
    if folder is not None:
        found.extend(_image_findings(content, folder, use.most_images))
    if readable:
        found.extend(_box_findings(content))
        if use.needs_boxes:
            found.extend(_unusable(content, use))
    return found


def _paths(content: dict, folder: str | None, path: str) -> set[str]:
    """The annotation file and the folders of its images."""
    folders = {os.path.dirname(name) for name in content['images']}
    return {path} | {os.path.join(folder, name) for name in folders
                     if folder is not None}


def read_boxes(path: str) -> dict:
    """Read an annotation file, whatever its segmentations are."""
    content = read_coco(path)
    AnnotationErrors(find_errors(content, masks=False)).check(path, FIX)
    return content


def _image_findings(content: dict, folder: str, most: int | None
                    ) -> Iterator[tuple[str, str]]:
    # Faster than a look at each path.
    present = {entry.name for entry in os.scandir(folder) if entry.is_file()}
    missing = {name for name in content['images'] if name not in present
               and not os.path.isfile(os.path.join(folder, name))}
    if missing:
        yield from _missing({
            image['file_name']: size_in(image) for image in
            content['image_records'] if image['file_name'] in missing}, folder)
    records = [image for image in content['image_records']
               if image['file_name'] not in missing]
    step = -(-len(records) // most) if most and records else 1
    with ThreadPoolExecutor() as pool:
        compared = zip(records[::step], pool.map(
            partial(_size_error, folder=folder), records[::step]))
        odd = [(image, error) for image, error in compared if error]
    beyond = _images_with_boxes_beyond(content, folder, [
        image for image, error in odd if error[0] == SIZE])
    for image, (kind, example) in odd:
        yield (f'{kind}, and boxes do not fit into it'
               if image['id'] in beyond else kind), example


def _missing(sizes: dict, folder: str) -> Iterator[tuple[str, str]]:
    from ..formats.image_folder import ImageFolder
    try:
        images = ImageFolder(folder)
    except UserError:  # It holds no images.
        images = None
    for name, size in sorted(sizes.items()):
        place = images and images.find_moved(name, size)
        yield ((PATH, f'{name}: it is {place}') if place else
               ('image that is not in its folder',
                os.path.join(os.path.abspath(folder), name)))


def _size_error(image: dict, folder: str) -> tuple[str, str] | None:
    """Compare a size with the file's, rotated as OpenCV rotates it."""
    path = os.path.join(folder, image['file_name'])
    try:
        size = _size_of(path)
    except (OSError, UserError) as error:
        reason = first_line(error)
        return 'image that cannot be read', (
            reason if path in reason else f'{path}, {reason}')
    said = image.get('width'), image.get('height')
    if size in (None, said) or None in said:
        return None
    return (SIZE, f'{image["file_name"]}: {shown(said[0], 20)}x'
            f'{shown(said[1], 20)}, the file has {size[0]}x{size[1]}')


def _size_of(path: str) -> tuple[int, int] | None:
    """Width and height; None of images that are too large for Pillow."""
    try:
        return upright_size(path)[::-1]
    except OSError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            return None
        # It knows formats that Pillow does not.
        height, width, _ = read(path, OPENCV).shape
        return width, height


def _images_with_boxes_beyond(content: dict, folder: str, images: list[dict]
                              ) -> set[int | str]:
    """Ids of those images whose boxes exceed the size of the file."""
    sizes = {image['id']: _size_of(os.path.join(folder, image['file_name']))
             for image in images}
    return {item['image_id'] for item in content['annotations'] if sizes
            and (size := sizes.get(image_of(item)))
            and excess(item, size) > ROUNDING}


def image_of(annotation: dict) -> int | str | None:
    """The id of an annotation's image, if it is one."""
    identity = annotation.get('image_id')
    return identity if isinstance(identity, (int, str)) else None


def size_in(image: dict) -> Size | None:
    """Width and height in a record of an image, if it has them."""
    width, height = image.get('width'), image.get('height')
    if is_number(width) and is_number(height) and min(width, height) > 0:
        return width, height
    return None


def excess(annotation: dict, size: Size | None) -> float:
    """By how many pixels a box exceeds an image, 0 if it is unknown."""
    box = box_of(annotation)
    if not box or not size:
        return 0.
    left, top, width, height = box
    return max(-left, -top, left + width - size[0], top + height - size[1])


def _missing_keys(content: dict) -> Iterator[tuple[str, str]]:
    """Keys that only MMDetection and its metric require."""
    for annotation in content['annotations']:
        # Other kinds of ids are errors already.
        if isinstance(annotation.get('id'), (str, type(None))):
            yield NO_ID, shown(annotation, 80)
        if not is_number(annotation.get('area')):
            yield NO_AREA, shown(annotation, 80)
        if annotation.get('iscrowd') is None:
            yield NO_CROWD, shown(annotation, 80)


def _box_findings(content: dict) -> Iterator[tuple[str, str]]:
    """Boxes that a training leaves out, or learns though they are odd."""
    sizes = {image['id']: (image['width'], image['height'])
             for image in content['image_records']}
    # Of millions, there is no room for copies.
    seen: set[int] = set()
    for annotation in content['annotations']:
        box, image = annotation['bbox'], annotation['image_id']
        if annotation.get('id') == 0:
            yield ZERO_ID, _place(annotation)
        if not box[2] or not box[3]:
            yield NO_EXTENT, _place(annotation)
        beyond = excess(annotation, sizes[image])
        if beyond > NEGLIGIBLE:
            width, height = sizes[image]
            yield (BEYOND if beyond > ROUNDING else OVERSHOOT,
                   f'{_place(annotation)} of {width}x{height}')
        key = hash((image, annotation['category_id'], *box))
        if key in seen:
            yield DUPLICATE, _place(annotation)
        seen.add(key)


def _place(annotation: dict) -> str:
    return (f'annotation {shown(annotation.get("id"), 40)}, '
            + ' '.join(f'{value:g}' for value in annotation['bbox']))


def _unusable(content: dict, use: Use) -> Iterator[tuple[str, str]]:
    """Tell if MMDetection keeps no box."""
    annotations = content['annotations']
    if not annotations:
        yield ('file that holds no annotations',
               'there is nothing to learn or to evaluate')
        return
    images = {image['id']: image for image in content['image_records']}
    wanted = {*(use.classes or ())}
    known = {identity for identity, name in zip(
        content['category_ids'], content['categories'])
        if use.classes is None or name in wanted}
    reasons: Counter[str | None] = Counter()
    for annotation in annotations:
        reasons[_unused(annotation, images[annotation['image_id']], known,
                        use.min_size)] += 1
        if None in reasons:
            return
    found = ', '.join(f'{count} {reason}' for reason, count
                      in reasons.items())
    yield ('file without a usable box', f'none of {len(annotations)} boxes '
           f'can be learned or evaluated ({found})')
    if all(0 <= value <= 1 for annotation in annotations
           for value in annotation['bbox']):
        yield ('file whose boxes are normalized, 0 to 1',
               'multiply them by width and height')


def _unused(annotation: dict, image: dict, known: set, min_size: float
            ) -> str | None:
    """Why MMDetection drops or ignores a box."""
    left, top, width, height = annotation['bbox']
    if annotation['category_id'] not in known:
        return 'of other classes'
    if annotation.get('ignore') or annotation.get('iscrowd'):
        return 'ignored (iscrowd)'
    area = annotation.get('area', 1)
    if width < 1 or height < 1 or is_number(area) and area <= 0:
        return 'smaller than a pixel'
    if max(left, 0) >= min(left + width, image['width']) \
            or max(top, 0) >= min(top + height, image['height']):
        return 'beyond their images'
    if min(image['width'], image['height']) < min_size:
        return f'in images below filter_cfg.min_size, {min_size}'
    return None
