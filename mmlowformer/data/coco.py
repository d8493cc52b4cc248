"""COCO's annotation files."""
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator

from mmengine.config import Config

from ..errors import UserError, first_line
from .paths import paths_of


def check_coco(dataset: dict, classes: tuple, cfg: Config) -> None:
    """Make sure that categories are the classes, and images are there.

    Args:
        dataset (dict): Config of the data set.
        classes (tuple): Names of the classes.
        cfg (Config): The whole config.

    Raises:
        UserError: If the annotation file is unusable, its categories are not
            the classes, images are missing, or images and boxes are broken in
            a way that would change the training or the metric in silence.
    """
    paths = paths_of(dataset)
    check_content(read_coco(paths['ann_file']), classes,
                  paths.get('data_prefix.img'), paths['ann_file'],
                  labelled=not dataset.get('test_mode'))


def check_content(content: dict, classes: tuple, folder: str | None,
                  path: str, *, labelled: bool) -> None:
    """What :func:`check_coco` does, of a file that was read.

    Args:
        content (dict): From :func:`read_coco`.
        classes (tuple): Names of the classes.
        folder (str, optional): Of the images.
        path (str): The file, for messages.
        labelled (bool): Whether there has to be an annotation at all.

    Raises:
        UserError: See there.
    """
    _check_categories(content, classes, path)
    _check_images(content, folder, path)
    _check_records(content, path, labelled)


def check_coco_boxes(dataset: dict, classes: tuple | None,
                     cfg: Config) -> None:
    """What :func:`check_coco` does, whatever the categories are.

    Args:
        dataset (dict): Config of the data set.
        classes (tuple, optional): Not used.
        cfg (Config): The whole config.

    Raises:
        UserError: See there.
    """
    paths = paths_of(dataset)
    content = read_coco(paths['ann_file'])
    _check_images(content, paths.get('data_prefix.img'), paths['ann_file'])
    _check_records(content, paths['ann_file'], labelled=True)


def read_coco(path: str) -> dict:
    """Read an annotation file.

    Args:
        path (str): The file.

    Returns:
        dict: ``categories``, their names; ``category_ids``; ``images``, their
        file names; ``image_records`` and ``annotations``, as they stand.

    Raises:
        UserError: If it is none.
    """
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
        names = [category['name'] for category in content['categories']]
        files = [str(image['file_name']) for image in content['images']]
        ids = [category['id'] for category in content['categories']]
        records = dict(category_ids=ids, image_records=content['images'],
                       annotations=content.get('annotations') or [])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is no COCO annotation file, or a truncated '
                        f'one: {type(error).__name__}: {first_line(error)}'
                        ) from error
    return dict(categories=names, images=files, **records)


def _check_categories(content: dict, classes, path: str) -> None:
    if isinstance(classes, str):
        raise UserError(
            f"metainfo.classes is the text {classes!r}; it has to be a tuple, "
            f'and one of a single class needs a comma: ({classes!r}, )')
    if not isinstance(classes, (tuple, list)):
        raise UserError(f'metainfo.classes has to be a tuple of names, not '
                        f'{classes!r}')
    names = content['categories']
    # MMDetection numbers the classes in the order of the file.
    if [name for name in names if name in classes] == list(classes):
        return
    if set(classes) <= set(names):
        problem = ("are not in the order of the config's classes, so that "
                   'names and labels would not match')
    else:
        problem = "do not match the config's classes"
    raise UserError(
        f'the categories in {path} {problem}.\n'
        f'  file:   {", ".join(names)}\n'
        f'  config: {", ".join(classes)}\n'
        'Set metainfo=dict(classes=(...)) of the data sets to the names in '
        "the file, and the head's num_classes to their number.")


def _check_images(content: dict, folder: str | None, path: str) -> None:
    if folder is None:
        return
    present = {entry.name: entry for entry in os.scandir(folder)}
    missing = [name for name in content['images'] if name not in present
               and not os.path.exists(os.path.join(folder, name))]
    empty = [name for name in content['images'] if name in present
             and not present[name].stat().st_size]
    if empty:
        raise UserError(
            f'{len(empty)} of {len(content["images"])} images in {path} are '
            f'empty files, first {os.path.abspath(present[empty[0]].path)}')
    if missing:
        raise UserError(
            f'{len(missing)} of {len(content["images"])} images in {path} are '
            f'not in {os.path.abspath(folder)}, first {missing[0]}')


def _check_records(content: dict, path: str, labelled: bool) -> None:
    """Count what is wrong with images and boxes, with an example of each."""
    if labelled and not content['annotations']:
        raise UserError(f'{path} holds no annotations, there is nothing to '
                        'learn from it')
    refuse_faults(faults_of(content), path)


def refuse_faults(faults: Iterable[tuple[str, str]], path: str) -> None:
    """Name what is wrong with a file, if anything is.

    Args:
        faults (Iterable[tuple[str, str]]): The kind of each fault, and where
            it is.
        path (str): The file.

    Raises:
        UserError: If there is a fault; the message counts those of each kind
            and has an example.
    """
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for fault, example in faults:
        counts[fault] += 1
        examples.setdefault(fault, example)
    if counts:
        found = '; '.join(f'{count} x {fault}, first: {examples[fault]}'
                          for fault, count in counts.items())
        raise UserError(f'{path} is broken: {found}. Mend the file, or leave '
                        'these out of it')


def faults_of(content: dict) -> Iterator[tuple[str, str]]:
    """Images and boxes that would change a training or a metric in silence.

    Args:
        content (dict): From :func:`read_coco`.

    Yields:
        tuple[str, str]: The kind of a fault, and where it is.
    """
    yield from _image_faults(content)
    yield from _box_faults(content)


def _image_faults(content: dict) -> Iterator[tuple[str, str]]:
    seen = set()
    for image in content['image_records']:
        name, identity = image['file_name'], image.get('id')
        if identity in seen:
            yield 'image id given to an image before', f'{identity} ({name})'
        seen.add(identity)
        if not all(isinstance(image.get(key), (int, float)) and image[key] > 0
                   for key in ('width', 'height')):
            yield 'image without width and height', name


def _box_faults(content: dict) -> Iterator[tuple[str, str]]:
    images = {image.get('id') for image in content['image_records']}
    categories = set(content['category_ids'])
    for annotation in content['annotations']:
        name = f'annotation {annotation.get("id")}'
        if annotation.get('image_id') not in images:
            yield ('annotation of an image that is not in the file',
                   f'{name}, image {annotation.get("image_id")}')
        if annotation.get('category_id') not in categories:
            yield ('category id that is not in the file',
                   f'{name}, category {annotation.get("category_id")}')
        box = annotation.get('bbox')
        if not _is_box(box):
            yield ('box that is not four numbers x, y, width and height',
                   f'{name}, {box}')


def _is_box(box: object) -> bool:
    return (isinstance(box, list) and len(box) == 4
            and all(isinstance(value, (int, float)) and math.isfinite(value)
                    for value in box)
            and min(box[2:]) >= 0)
