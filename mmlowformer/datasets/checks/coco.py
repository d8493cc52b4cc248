"""Checks of data sets with COCO's annotation files."""
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mmengine.config import Config

from ...errors import AnnotationErrors, UserError, shown
from ...utils.allocator import without_garbage_collection
from ...utils.images import upright_size
from ..paths import paths_of
from .check_datasets import Result
from .coco_annotations import find_errors, is_number, read_coco, read_to_load

# The sizes of so many images are compared; of more, evenly spaced ones.
MOST_READ = 25_000
FIX = 'Fix the file, or remove these from it'


def check_coco(dataset: dict, classes: tuple,
               cfg: Config, dataloader: str) -> Result:
    """Make sure that categories are the classes, and that images exist."""
    return check_content(
        read_to_load(paths_of(dataset)['ann_file']), classes, dataset,
        'data_prefix.img', dataloader)


@without_garbage_collection()
def check_content(content: dict, classes: tuple, dataset: dict, prefix: str,
                  dataloader: str) -> Result:
    """Do what :func:`check_coco` does, for a file that was read."""
    paths = paths_of(dataset)
    path = paths['ann_file']
    _check_categories(content, classes, path)
    masks = any(isinstance(step, dict) and step.get('with_mask')
                for step in dataset.get('pipeline') or ())
    AnnotationErrors([*find_errors(content, masks=masks),
                      *_missing_keys(content)]).check(path, FIX)
    _check_images(content, paths.get(prefix), path)
    if not dataset.get('test_mode') or not dataloader.startswith('test'):
        _check_usable(content, classes, dataset, path)
    return [], _paths(content, paths.get(prefix), path)


def _paths(content: dict, folder: str | None, path: str) -> set[str]:
    """The annotation file and the folders of its images."""
    folders = {os.path.dirname(name) for name in content['images']}
    return {path} | {os.path.join(folder, name) for name in folders
                     if folder is not None}


def check_trainable(content: dict, path: str, folder: str | None = None,
                    filter_cfg: dict | None = None) -> None:
    """Do what :func:`check_coco` does, with the categories as the classes."""
    check_content(
        content, tuple(content['categories']),
        dict(ann_file=path, data_prefix=dict(img=folder),
             filter_cfg=filter_cfg, pipeline=[dict(with_mask=True)]),
        'data_prefix.img', 'train_dataloader')


def check_coco_boxes(dataset: dict, classes: tuple | None,
                     cfg: Config, dataloader: str) -> Result:
    """Do what :func:`check_coco` does, whatever the categories are."""
    paths = paths_of(dataset)
    content = read_boxes(paths['ann_file'])
    _check_images(content, paths.get('data_prefix.img'), paths['ann_file'])
    _check_usable(content, content['categories'], dataset, paths['ann_file'])
    return [], _paths(content, paths.get('data_prefix.img'),
                      paths['ann_file'])


def read_boxes(path: str) -> dict:
    """Read an annotation file, whatever its segmentations are."""
    content = read_coco(path)
    AnnotationErrors(find_errors(content, masks=False)).check(path, FIX)
    return content


def _check_categories(content: dict, classes, path: str) -> None:
    if isinstance(classes, str):
        raise UserError(
            f'metainfo.classes is the text {classes!r}; it must be a tuple, '
            f'and a tuple of one class needs a comma: ({classes!r}, )')
    if not isinstance(classes, (tuple, list)):
        raise UserError(f'metainfo.classes must be a tuple of names, not '
                        f'{classes!r}')
    names = content['categories']
    wanted = {name for name in classes if isinstance(name, str)}
    # MMDetection numbers the classes in the order of the file.
    if [name for name in names if name in wanted] == list(classes):
        return
    problem = ("are not in the order of the config's classes, so that names "
               'and labels would not match' if wanted <= set(names) else
               "do not match the config's classes")
    raise UserError(
        f'the categories in {path} {problem} (file: '
        f'{shown(", ".join(names), 800)}; config: '
        f'{shown(", ".join(classes), 800)}). Set metainfo=dict(classes=(...)) '
        "of the data sets to the names in the file, and the head's "
        'num_classes to their number.')


def _check_images(content: dict, folder: str | None, path: str) -> None:
    if folder is None:
        return
    # Faster than a look at each path.
    present = {entry.name: entry for entry in os.scandir(folder)
               if entry.is_file()}
    names = content['images']
    missing = [name for name in names if name not in present
               and not os.path.isfile(os.path.join(folder, name))]
    empty = [name for name in names if name in present
             and not present[name].stat().st_size]
    if empty:
        raise UserError(
            f'{len(empty)} of {len(names)} images in {path} are empty files, '
            f'first {os.path.abspath(present[empty[0]].path)}')
    if missing:
        raise UserError(
            f'{len(missing)} of {len(names)} images in {path} are not in '
            f'{os.path.abspath(folder)}, first {shown(missing[0])}: write '
            'their paths below that folder')
    records = content['image_records']
    with ThreadPoolExecutor() as pool:
        sizes = pool.map(partial(_size_error, folder=folder),
                         records[::-(-len(records) // MOST_READ) or 1])
        AnnotationErrors(filter(None, sizes)).check(path, FIX)


def _size_error(image: dict, folder: str) -> tuple[str, str] | None:
    """Compare a size with the file's, rotated as OpenCV rotates it."""
    try:
        size = upright_size(os.path.join(folder, image['file_name']))[::-1]
    except OSError:
        return None  # Loading the image reports it.
    said = image.get('width'), image.get('height')
    if said == size or None in said:
        return None
    return ('size that differs from the image',
            f'{image["file_name"]}: {shown(said[0], 20)}x'
            f'{shown(said[1], 20)}, the file has {size[0]}x{size[1]}')


def _missing_keys(content: dict) -> Iterator[tuple[str, str]]:
    """Keys that only MMDetection and its metric require."""
    for annotation in content['annotations']:
        for key in ('id', 'area'):
            if not is_number(annotation.get(key)):
                yield (f'annotation without {key}, or with one that is not a '
                       'number', shown(annotation, 80))


def _check_usable(content: dict, classes: Iterable[str], dataset: dict,
                  path: str) -> None:
    """Make sure that MMDetection keeps a box."""
    annotations = content['annotations']
    if not annotations:
        raise UserError(f'{path} holds no annotations, so there is nothing '
                        'to learn or to evaluate')
    images = {image['id']: image for image in content['image_records']}
    wanted = set(classes)
    known = {identity for identity, name in zip(
        content['category_ids'], content['categories']) if name in wanted}
    min_size = 0 if dataset.get('test_mode') else (
        dataset.get('filter_cfg') or {}).get('min_size', 0)
    reasons: Counter[str | None] = Counter()
    for annotation in annotations:
        reasons[_unused(annotation, images[annotation['image_id']], known,
                        min_size)] += 1
        if None in reasons:
            return
    normalized = all(0 <= value <= 1 for annotation in annotations
                     for value in annotation['bbox'])
    found = ', '.join(f'{count} {reason}' for reason, count
                      in reasons.items())
    raise UserError(
        f'{path}: none of {len(annotations)} boxes can be learned or '
        f'evaluated ({found})' + (
            '. They are normalized, 0 to 1: multiply them by width and height'
            if normalized else ''))


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
