"""COCO's annotation files."""
import json
import os
import posixpath
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mmengine.config import Config

from ...errors import UserError, first_line, is_printable, shown
from ..paths import check_regular, check_unlike, leads_out, paths_of
from .masks import upright_size

# Coordinates and lengths in pixels are below; others are no such.
LARGEST = 1e9
# Sizes of so many images are compared; of more, of evenly spaced ones.
MOST_READ = 25_000


def check_coco(dataset: dict, classes: tuple,
               cfg: Config, dataloader: str) -> None:
    """Make sure that categories are the classes, and images are there.

    Args:
        dataset (dict): Config of the data set.
        classes (tuple): Names of the classes.
        cfg (Config): The whole config.
        dataloader (str): Name of the data loader.

    Raises:
        UserError: If the annotation file is unusable, its categories are not
            the classes, images are missing, or images and boxes are broken in
            a way that would change the training or the metric in silence.
    """
    check_content(read_coco(paths_of(dataset)['ann_file']), classes, dataset,
                  'data_prefix.img', dataloader)


def check_content(content: dict, classes: tuple, dataset: dict, prefix: str,
                  dataloader: str) -> None:
    """What :func:`check_coco` does, of a file that was read.

    Args:
        content (dict): From :func:`read_coco`.
        classes (tuple): Names of the classes.
        dataset (dict): Config of the data set.
        prefix (str): Key of the images' folder, see ``paths_of``.
        dataloader (str): Name of the data loader. That of a test alone needs
            no boxes.

    Raises:
        UserError: See there.
    """
    paths = paths_of(dataset)
    path = paths['ann_file']
    _check_categories(content, classes, path)
    refuse_faults([*faults_of(content, masks=_has_masks(dataset)),
                   *_lacking(content)], path)
    _check_images(content, paths.get(prefix), path)
    if not dataset.get('test_mode') or not dataloader.startswith('test'):
        _check_usable(content, classes, dataset, path)


def check_trainable(content: dict, path: str, folder: str | None = None,
                    filter_cfg: dict | None = None) -> None:
    """What :func:`check_coco` does, with the categories as the classes.

    Args:
        content (dict): From :func:`read_coco` or :func:`parts_of`.
        path (str): Its file.
        folder (str, optional): That of the images. None checks none.
        filter_cfg (dict, optional): Of MMDetection's data set.

    Raises:
        UserError: If a training would refuse it.
    """
    check_content(
        content, tuple(content['categories']),
        dict(ann_file=path, data_prefix=dict(img=folder),
             filter_cfg=filter_cfg, pipeline=[dict(with_mask=True)]),
        'data_prefix.img', 'train_dataloader')


def check_coco_boxes(dataset: dict, classes: tuple | None,
                     cfg: Config, dataloader: str) -> None:
    """What :func:`check_coco` does, whatever the categories are.

    Args:
        dataset (dict): Config of the data set.
        classes (tuple, optional): Not used.
        cfg (Config): The whole config.
        dataloader (str): Name of the data loader.

    Raises:
        UserError: See there.
    """
    paths = paths_of(dataset)
    content = read_coco(paths['ann_file'])
    refuse_faults(faults_of(content, masks=False), paths['ann_file'])
    _check_images(content, paths.get('data_prefix.img'), paths['ann_file'])
    _check_usable(content, content['categories'], dataset, paths['ann_file'])


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
    check_regular(path)
    try:
        with open(path, encoding='utf-8') as file:
            return parts_of(json.load(file), path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f'{path} is no COCO annotation file, or a truncated '
                        f'one: {first_line(error)}') from error


def parts_of(content: object, path: str) -> dict:
    """The parts of what an annotation file holds.

    Args:
        content (object): What was read, or is to be written.
        path (str): The file, for messages.

    Returns:
        dict: See :func:`read_coco`.

    Raises:
        ValueError: If there are no such parts.
        UserError: If categories share an id or a name.
    """
    if not isinstance(content, dict):
        raise ValueError('it holds no object with images, annotations and '
                         'categories')
    parts = {key: _records(content.get(key) or [], key)
             for key in ('images', 'categories', 'annotations')}
    names = [_text(item, 'name', 'categories')
             for item in parts['categories']]
    files = [_text(item, 'file_name', 'images') for item in parts['images']]
    ids = [_identity(item, 'id', 'categories')
           for item in parts['categories']]
    for image in parts['images']:
        _identity(image, 'id', 'images')
    if len(set(ids)) < len(ids):
        twice = next(key for key, count in Counter(ids).items() if count > 1)
        shared = [shown(repr(name), 60) for key, name in zip(ids, names)
                  if key == twice]
        raise UserError(f'{path} has two categories of the id {twice}: '
                        f'{" and ".join(shared[:2])}. Number them anew, the '
                        'annotations, too')
    check_unlike(names, path)
    return dict(categories=names, images=files, category_ids=ids,
                image_records=parts['images'],
                annotations=parts['annotations'])


def _records(items: object, key: str) -> list[dict]:
    if not isinstance(items, list):
        raise ValueError(f'{key} is no list')
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise ValueError(f'{key}[{index}] is no record: '
                             + shown(json.dumps(item)))
    return items


def _text(record: dict, key: str, where: str) -> str:
    text = _entry(record, key, where)
    if not isinstance(text, str) or not text.strip() \
            or not is_printable(text):
        raise ValueError(f'{key} is no text that can be printed: '
                         + shown(json.dumps(text)))
    return text


def _identity(record: dict, key: str, where: str) -> int | str:
    value = _entry(record, key, where)
    if type(value) not in (int, str):
        raise ValueError(f'{key} of {where} is {shown(json.dumps(value))}, it '
                         'has to be an integer')
    return value


def _entry(record: dict, key: str, where: str):
    if key not in record:
        raise ValueError(f'{where} have one without {key}: '
                         f'{shown(record, 80)}')
    return record[key]


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
        f'the categories in {path} {problem} (file: '
        f'{shown(", ".join(names), 800)}; config: '
        f'{shown(", ".join(classes), 800)}). Set metainfo=dict(classes=(...)) '
        "of the data sets to the names in the file, and the head's "
        'num_classes to their number.')


def _check_images(content: dict, folder: str | None, path: str) -> None:
    if folder is None:
        return
    present = {entry.name: entry for entry in os.scandir(folder)}
    missing = [name for name in content['images']
               if not (name in present and present[name].is_file()
                       or os.path.isfile(os.path.join(folder, name)))]
    empty = [name for name in content['images'] if name in present
             and present[name].is_file() and not present[name].stat().st_size]
    if empty:
        raise UserError(
            f'{len(empty)} of {len(content["images"])} images in {path} are '
            f'empty files, first {os.path.abspath(present[empty[0]].path)}')
    if missing:
        raise UserError(
            f'{len(missing)} of {len(content["images"])} images in {path} are '
            f'not in {os.path.abspath(folder)}, first {shown(missing[0])}; '
            'they have to be called as below that folder')
    records = content['image_records']
    with ThreadPoolExecutor() as pool:
        sizes = pool.map(partial(_size_fault, folder=folder),
                         records[::-(-len(records) // MOST_READ) or 1])
        refuse_faults(filter(None, sizes), path)


def _size_fault(image: dict, folder: str) -> tuple[str, str] | None:
    """A size that is not that of the file, turned as OpenCV turns it."""
    try:
        size = upright_size(os.path.join(folder, image['file_name']))[::-1]
    except OSError:
        return None  # What reads it says so, and what is wrong with it.
    said = image.get('width'), image.get('height')
    if said == size or None in said:
        return None
    return ('size that is not that of the image',
            f'{image["file_name"]}: {shown(said[0], 20)}x'
            f'{shown(said[1], 20)}, the file has {size[0]}x{size[1]}')


def _has_masks(dataset: dict) -> bool:
    return any(step.get('with_mask') for step in dataset.get('pipeline') or ()
               if isinstance(step, dict))


def _lacking(content: dict) -> Iterator[tuple[str, str]]:
    """What MMDetection and its metric need, and a conversion does not."""
    for annotation in content['annotations']:
        for key in ('id', 'area'):
            if not is_number(annotation.get(key)):
                yield (f'annotation without {key}, or whose {key} is no '
                       'number', shown(annotation, 80))


def _check_usable(content: dict, classes: Iterable[str], dataset: dict,
                  path: str) -> None:
    """Make sure that MMDetection keeps a box."""
    annotations = content['annotations']
    if not annotations:
        raise UserError(f'{path} holds no annotations, there is nothing to '
                        'learn or to measure')
    images = {image['id']: image for image in content['image_records']}
    known = {identity for identity, name in zip(
        content['category_ids'], content['categories']) if name in classes}
    least = 0 if dataset.get('test_mode') else (
        dataset.get('filter_cfg') or {}).get('min_size', 0)
    reasons: Counter[str] = Counter()
    for annotation in annotations:
        reason = _unused(annotation, images[annotation['image_id']], known,
                         least)
        if reason is None:
            return
        reasons[reason] += 1
    shares = all(0 <= value <= 1 for annotation in annotations
                 for value in annotation['bbox'])
    found = ', '.join(f'{count} {reason}' for reason, count
                      in reasons.items())
    raise UserError(
        f'{path}: of {len(annotations)} boxes none can be learned or measured '
        f'({found})' + (
            '. They are shares of the image, 0 to 1: multiply them by width '
            'and height' if shares else ''))


def _unused(annotation: dict, image: dict, known: set, least: float
            ) -> str | None:
    """Why MMDetection leaves a box out, or ignores it."""
    left, top, width, height = annotation['bbox']
    if annotation['category_id'] not in known:
        return 'of other classes'
    if annotation.get('ignore') or annotation.get('iscrowd'):
        return 'to be ignored (iscrowd)'
    area = annotation.get('area', 1)
    if width < 1 or height < 1 or is_number(area) and area <= 0:
        return 'smaller than a pixel'
    if max(left, 0) >= min(left + width, image['width']) \
            or max(top, 0) >= min(top + height, image['height']):
        return 'beyond their images'
    if min(image['width'], image['height']) < least:
        return f'in images below filter_cfg.min_size, {least}'
    return None


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
        examples.setdefault(fault, shown(example))
    if counts:
        found = '; '.join(f'{count} x {fault}, first: {examples[fault]}'
                          for fault, count in counts.items())
        raise UserError(f'{path} is broken: {found}. Mend the file, or leave '
                        'these out of it')


def faults_of(content: dict, *, masks: bool = True) -> Iterator[
        tuple[str, str]]:
    """Images and boxes that would change a training or a metric in silence.

    Args:
        content (dict): From :func:`read_coco`.
        masks (bool): Whether segmentations are used. Defaults to True.

    Yields:
        tuple[str, str]: The kind of a fault, and where it is.
    """
    yield from _image_faults(content)
    yield from _box_faults(content)
    if masks:
        yield from _segmentation_faults(content)


def _image_faults(content: dict) -> Iterator[tuple[str, str]]:
    seen, files = set(), set()
    for image in content['image_records']:
        name, identity = image['file_name'], image['id']
        if identity in seen:
            yield 'image id given to an image before', f'{identity} ({name})'
        seen.add(identity)
        file = posixpath.normpath(name.replace('\\', '/'))
        if file in files:
            yield 'image that is there under another id', (
                f'{name} (id {identity})')
        files.add(file)
        if leads_out(name):
            yield 'image whose name holds ..', name
        if not all(is_number(image.get(key)) and image[key] > 0
                   for key in ('width', 'height')):
            yield 'image without width and height', name


def _box_faults(content: dict) -> Iterator[tuple[str, str]]:
    images = {image['id'] for image in content['image_records']}
    categories = set(content['category_ids'])
    seen = set()
    for annotation in content['annotations']:
        identity = annotation.get('id')
        name = f'annotation {shown(identity, 40)}'
        if not _refers(annotation.get('image_id'), images):
            yield ('annotation of an image that is not in the file',
                   f'{name}, image {shown(annotation.get("image_id"), 40)}')
        if not _refers(annotation.get('category_id'), categories):
            yield ('category id that is not in the file', f'{name}, category '
                   f'{shown(annotation.get("category_id"), 40)}')
        if identity is not None and type(identity) not in (int, str):
            yield 'annotation whose id is no integer', name
        elif identity is not None and identity in seen:
            yield 'annotation id given to an annotation before', name
        else:
            seen.add(identity)
        if annotation.get('iscrowd') not in (None, 0, 1):
            yield 'iscrowd that is neither 0 nor 1', name
        box = annotation.get('bbox')
        if not _is_box(box):
            yield ('box that is not four numbers x, y, width and height',
                   f'{name}, {shown(box, 80)}')


def _refers(identity: object, known: Collection) -> bool:
    return type(identity) in (int, str) and identity in known


def is_number(value: object) -> bool:
    """Whether a value can be a coordinate, or a length in pixels.

    Args:
        value (object): As it stands in a file.
    """
    # Comparing is also safe for integers that are too large for a float.
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and -LARGEST < value < LARGEST)


def _is_box(box: object) -> bool:
    return (isinstance(box, list) and len(box) == 4
            and all(map(is_number, box)) and min(box[2:]) >= 0)


def _segmentation_faults(content: dict) -> Iterator[tuple[str, str]]:
    sizes = {image['id']: [image.get('height'), image.get('width')]
             for image in content['image_records']}
    for annotation in content['annotations']:
        what = annotation.get('segmentation')
        identity = annotation.get('image_id')
        if what in (None, []) or not _refers(identity, sizes.keys()):
            continue
        fault = (_polygon_fault(what) if isinstance(what, list) else
                 _run_length_fault(what, sizes[identity]))
        if fault:
            yield (f'segmentation {fault}',
                   f'annotation {shown(annotation.get("id"), 40)}, '
                   f'{shown(what, 80)}')


def _polygon_fault(polygons: list) -> str | None:
    for polygon in polygons:
        if not isinstance(polygon, list):
            return 'that is no list of polygons, [[x1, y1, x2, y2, ...]]'
        if len(polygon) < 6 or len(polygon) % 2:
            return 'with a polygon that is not three points or more'
        if not all(map(is_number, polygon)):
            return 'with a polygon that is not of numbers'
    return None


def _run_length_fault(runs: object, size: list) -> str | None:
    if not isinstance(runs, dict):
        return 'that is neither polygons nor run lengths'
    if runs.get('size') != size:
        return "whose run lengths are not of the image's height and width"
    try:
        lengths = run_lengths(runs['counts'])
    except (KeyError, TypeError, ValueError):
        return 'whose run lengths cannot be read'
    if sum(lengths) != size[0] * size[1]:
        return 'whose run lengths are of another number of pixels'
    return None


def run_lengths(counts: list | str) -> list[int]:
    """Lengths of runs of pixels, column by column, outside and inside.

    Args:
        counts (list | str): COCO's, compressed if it is a text.

    Returns:
        list[int]: The lengths.

    Raises:
        TypeError: If they are something else.
        ValueError: If there is a length that cannot be.
    """
    lengths = (_decompressed(counts) if isinstance(counts, str) else
               list(counts))
    if not all(type(length) is int and 0 <= length < LARGEST
               for length in lengths):
        raise ValueError('a run length is no length')
    return lengths


def _decompressed(text: str) -> list[int]:
    """Six bits a letter, the lowest first; from the third, differences."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text.encode('ascii'):
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError('no letter of run lengths')
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError('the last run length is cut off')
    return lengths
