"""Fixes of COCO's annotation files that need no decision."""
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count

from ..formats.annotations import Annotation, area_of
from ..formats.image_folder import ImageFolder
from .coco import (
    DUPLICATE,
    NEGLIGIBLE,
    NO_AREA,
    NO_CROWD,
    NO_ID,
    OVERSHOOT,
    PATH,
    SIZE,
    ZERO_ID,
    Size,
    excess,
    image_of,
    size_in,
)
from .coco_annotations import (
    BEYOND,
    DUPLICATE_ID,
    NO_EXTENT,
    NO_SIZE,
    ODD_CROWD,
    ODD_ID,
    ROUNDING,
    box_of,
    is_number,
    segmentation_problem,
)


def fix_coco(content: dict, images: ImageFolder | None,
             step: Callable[[], None], *, clip: bool = False,
             drop_duplicates: bool = False) -> Counter[str]:
    """Fix an annotation file, and count what was fixed by kind.

    Args:
        content (dict): What ``parts_of`` returns; its records are changed.
        images (ImageFolder | None): For paths and sizes, if it is known.
        step (Callable): Called after each image.
        clip (bool): Clip all boxes to their images, and remove those that
            have no area then.
        drop_duplicates (bool): Remove boxes that the image has already.
    """
    fixed = Counter(_fix_images(content, images, step) if images else ())
    annotations = content['annotations']
    fixed.update(_fix_ids(annotations))
    sizes = {image['id']: size_in(image) for image in content['image_records']}
    kept, seen = [], set()
    for item in annotations:
        size = sizes.get(image_of(item))
        fixed.update(_fix_crowd(item))
        fixed.update(_fix_box(item, size, clip))
        fixed.update(_fix_area(item, size))
        box = box_of(item)
        key = repr((item.get('image_id'), item.get('category_id'), box))
        if clip and box and not min(box[2:]) > 0:
            fixed[NO_EXTENT] += 1
        elif drop_duplicates and box and key in seen:
            fixed[DUPLICATE] += 1
        else:
            kept.append(item)
            if drop_duplicates:
                seen.add(key)
    annotations[:] = kept
    return fixed


def _fix_images(content: dict, images: ImageFolder, step: Callable[[], None]
                ) -> Iterator[str]:
    boxes: dict[int | str | None, list] = {}
    for item in content['annotations']:
        boxes.setdefault(image_of(item), []).append(item)
    for record in content['image_records']:
        step()
        said = size_in(record)
        if not os.path.isfile(images.path(record['file_name'])):
            if not (place := images.find_moved(record['file_name'], said)):
                continue
            record['file_name'] = place
            yield PATH
        size = images.size(record['file_name'])
        if size and size != said and (not said or not any(
                excess(item, size) > ROUNDING
                for item in boxes.get(record['id'], ()))):
            record['width'], record['height'] = size
            yield SIZE if said else NO_SIZE


def _fix_ids(annotations: list[dict]) -> Iterator[str]:
    ids = [item.get('id') for item in annotations]
    unused = count(1 + max((identity for identity in ids
                            if type(identity) is int), default=0))
    seen = set()
    for item, identity in zip(annotations, ids):
        if type(identity) is int and identity and identity not in seen:
            seen.add(identity)
            continue
        item['id'] = next(unused)
        yield (NO_ID if identity is None or isinstance(identity, str) else
               ODD_ID if type(identity) is not int else
               DUPLICATE_ID if identity else ZERO_ID)


def _fix_crowd(item: dict) -> Iterator[str]:
    crowd = item.get('iscrowd')
    if crowd is None:
        item['iscrowd'] = 0
        yield NO_CROWD
    elif crowd in ('0', '1'):
        item['iscrowd'] = int(crowd)
        yield ODD_CROWD


def _fix_box(item: dict, size: Size | None, clip: bool) -> Iterator[str]:
    box, beyond = box_of(item), excess(item, size)
    least, most = (0., math.inf) if clip else (NEGLIGIBLE, ROUNDING)
    if not size or not least < beyond <= most:
        return
    left, top = (min(max(value, 0), side) for value, side in zip(box, size))
    right, bottom = (min(max(start + length, 0), side) for start, length, side
                     in zip(box[:2], box[2:], size))
    item['bbox'] = [left, top, right - left, bottom - top]
    if not item.get('segmentation'):
        item['area'] = round((right - left) * (bottom - top), 3)
    if beyond > NEGLIGIBLE:
        yield BEYOND if beyond > ROUNDING else OVERSHOOT


def _fix_area(item: dict, size: Size | None) -> Iterator[str]:
    box, segmentation = box_of(item), item.get('segmentation') or None
    if not box or is_number(item.get('area')):
        return
    if segmentation and segmentation_problem(
            segmentation, [*(size or ())][::-1]):
        segmentation = None
    left, top, width, height = box
    item['area'] = round(float(area_of(Annotation(
        '', (left, top, left + width, top + height), segmentation))), 3)
    yield NO_AREA
