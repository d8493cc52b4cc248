"""Checks of segmentation masks, read as MMSegmentation reads them."""
import os
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS
from PIL import UnidentifiedImageError
from rich.progress import track

from ...config.loading import kind_of
from ...errors import UserError, first_line, shown, some_of
from ...utils.images import opened, upright_size
from ...utils.text import counted
from ..paths import CLASSES_FILE, check_regular, paths_of, read_lines
from .check_datasets import Result
from .class_folders import unused_classes

IGNORED = 255
# At most so many masks are decoded, in random order.
MOST_MASKS = 25_000
# At least so many, before a training whose loader checks each mask it reads.
FEWEST_MASKS = 500
# Pillow's modes with 8 bits.
NARROW = ('1', 'L', 'P', 'LA', 'PA', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'HSV',
          'LAB', 'RGBX', 'RGBa', 'La')


def check_masks(dataset: dict, classes: tuple | None,
                cfg: Config, dataloader: str) -> Result:
    """Make sure that each image has a mask that fits it and the classes."""
    _check_num_classes(classes, cfg)
    _check_classes_file(dataset, classes)
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as \
            registry:
        built = registry.build(
            dict(dataset, pipeline=[], serialize_data=False))
    prefix = dataset.get('data_prefix') or {}
    folder = os.path.abspath(os.path.join(
        dataset.get('data_root') or '', prefix.get('img_path') or ''))
    if not len(built):
        raise UserError(f'no images in {folder}: names must end in '
                        f'{built.img_suffix}')
    load = _loader(dataset, cfg)
    if load is None:
        return [], ()
    infos = list(map(built.get_data_info, range(len(built))))
    for info in infos:
        _check_exists(info)
    check = partial(_check_mask, load=load, classes=classes)
    needed = (set(range(len(classes or ())))
              if dataloader == 'train_dataloader' else None)
    found, checked = _find_values(infos, check, needed)
    if found == {IGNORED}:
        raise UserError(f'the {checked} masks of {folder} hold only '
                        f'{IGNORED} (no class), so there is nothing to learn '
                        'or to evaluate')
    if only_first_and_ignored(found, len(classes or ())):
        raise UserError(f'the masks of {folder} {TWO_VALUES}')
    return unused_classes(
        found, classes or (), f'The {checked} masks of {folder} hold no '
        'pixel', dataloader), _paths(dataset, infos)


def _find_values(infos: Sequence[dict], check: Callable[[dict], set[int]],
                 needed: set[int] | None) -> tuple[set[int], int]:
    """Values in masks, until the needed ones are found, and how many masks."""
    order = np.random.default_rng(0).permutation(len(infos))[:MOST_MASKS]
    found: set[int] = set()
    checked = 0
    with ThreadPoolExecutor() as pool:
        for first in track(range(0, len(order), FEWEST_MASKS),
                           'Checking masks', transient=True):
            batch = order[first:first + FEWEST_MASKS]
            found.update(*pool.map(check, (infos[index] for index in batch)))
            checked += len(batch)
            if needed is not None and needed <= found:
                break
    return found, checked


def _check_exists(info: dict) -> None:
    if not os.path.exists(info['seg_map_path']):
        raise UserError(f'mask not found: {info["seg_map_path"]}, of image '
                        f'{info["img_path"]}')


def _paths(dataset: dict, infos: Iterable[dict]) -> set[str]:
    """The lists and folders in which images and masks are found."""
    roots = tuple(map(os.path.abspath, paths_of(dataset).values()))
    folders = {os.path.dirname(os.path.abspath(info[key])) for info in infos
               for key in ('img_path', 'seg_map_path')}
    parents = {str(parent) for folder in folders
               for parent in Path(folder).parents}
    # New folders between a root and the images may hold images, too.
    return {*roots, *folders, *(
        parent for parent in parents if parent.startswith(roots))}


def _check_num_classes(classes: tuple | None, cfg: Config) -> None:
    head = cfg.model.get('decode_head') or {}
    for item in head if isinstance(head, list) else [head]:
        count = item.get('num_classes')
        if classes and count and count != len(classes):
            raise UserError(
                f"the head's num_classes is {count}, but the data set has "
                f'{counted(len(classes), "class", "classes")}: '
                f'{some_of(classes, 5)}')


def _check_classes_file(dataset: dict, classes: tuple | None) -> None:
    """Compare the config with the file beside the masks."""
    folder = paths_of(dataset).get('data_prefix.seg_map_path')
    path = os.path.join(folder or '', CLASSES_FILE)
    if not folder or not classes or not os.path.exists(path):
        return
    names = read_lines(path)[1 if dataset.get('reduce_zero_label') else 0:]
    if list(classes) != names:
        raise UserError(
            f'the classes of the config differ from {path}, or their order '
            f'does (file: {shown(", ".join(names), 800)}; config: '
            f'{shown(", ".join(classes), 800)}). Make both the same')


def _loader(dataset: dict, cfg: Config):
    """The transform that loads masks in the data set's pipeline, if any."""
    for step in dataset.get('pipeline') or ():
        if kind_of(step) == 'LoadAnnotations':
            with TRANSFORMS.switch_scope_and_registry(
                    cfg.get('default_scope')) as registry:
                return registry.build(step)
    return None


def _check_mask(info: dict, load, classes: tuple | None) -> set[int]:
    """The values in a mask, 255 included."""
    path = info['seg_map_path']
    with _name_in_errors('mask', path):
        problem = invalid_value(path)
        if problem:
            raise UserError(f'mask {path} holds {problem}')
        mask = load(info)['gt_seg_map']
    with _name_in_errors('image', info['img_path']):
        size = upright_size(info['img_path'])
    error = mask_error(mask, size, len(classes) if classes else IGNORED,
                       int(bool(info['reduce_zero_label'])))
    if error:
        raise UserError(f'mask {path} of {info["img_path"]} '
                        + ': '.join(error))
    # A tenth of np.unique's time.
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256])
    return set(np.flatnonzero(counts).tolist())


def mask_error(mask: np.ndarray, size: tuple[int, int], count: int,
               shift: int = 0) -> tuple[str, str] | None:
    """The kind and the details of an error in a mask, if any."""
    if mask.ndim != 2:
        return ('has several channels',
                'it needs a single channel of class numbers')
    if mask.shape != size:
        return ('has another size than its image',
                f'{mask.shape[1]}x{mask.shape[0]}, not {size[1]}x{size[0]}')
    beyond = mask[(mask >= count) & (mask != IGNORED)]
    if not beyond.size:
        return None
    return (f'has a value beyond the {counted(count, "class", "classes")}',
            f'{beyond.min() + shift}; it may hold {shift} to '
            f'{count - 1 + shift}, and {"0 or " if shift else ""}{IGNORED} '
            'for no class')


def invalid_value(path: str) -> str | None:
    """A value that the 8 bits which training reads cannot hold."""
    with opened(path) as image:
        if image.mode in NARROW:
            return None
        values = np.asarray(image)
    odd = values[~((values >= 0) & (values <= IGNORED)
                   & (values == np.floor(values)))]
    if not odd.size:
        return None
    return (f'the value {odd[0]:g}: class numbers are integers, 0 to '
            f'{IGNORED - 1}, and {IGNORED} for no class')


def read_mask(path: str) -> np.ndarray:
    """Read a mask without conversion."""
    with opened(path) as image:
        return np.asarray(image)


def only_first_and_ignored(values: Collection[int], count: int) -> bool:
    """Whether masks hold 0 and 255, as binary masks of other tools."""
    return set(values) == {0, IGNORED} and count > 1


# The remedy for such masks.
TWO_VALUES = (f'hold only 0 and {IGNORED}, and {IGNORED} means "no class". If '
              f'it is the object, write 1 instead: numpy.where(mask == '
              f'{IGNORED}, 1, mask)')


@contextmanager
def _name_in_errors(kind: str, path: str) -> Iterator[None]:
    """Name the file that cannot be read."""
    check_regular(path)
    try:
        yield
    except UserError:
        raise
    # Decoders raise anything for damaged files.
    except Exception as error:
        known = isinstance(error, OSError) and not isinstance(
            error, UnidentifiedImageError)
        reason = first_line(error) if known else 'damaged or not an image'
        raise UserError(f'{kind} {path} cannot be read: {reason}') from error
