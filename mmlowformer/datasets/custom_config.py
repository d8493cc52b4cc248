"""Read what a config of custom data needs from the data.

``custom_*`` complete the variables of the deprecated ``configs/*_custom.py``;
``tools/data.py config`` writes plain configs instead.
"""
import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial

from ..config.variables import followed
from ..errors import UserError, some_of
from ..utils.imports import lazy_names
from .checks.check_datasets import Result, remembered
from .checks.class_folders import class_folders
from .checks.coco_annotations import read_to_load
from .paths import CLASSES_FILE, check_distinct, files_below, read_lines

# Replaces classes that are not known yet.
UNKNOWN = ('object', )

# Copies of ``*_custom.py`` import them.
__getattr__ = lazy_names(
    __name__, own_boxes='custom_detection', own_masks='custom_segmentation',
    own_folders='custom_classification')


def custom_detection(variables: Mapping) -> dict:
    """Complete the variables of a config for boxes."""
    return _completed(variables, detection_data, 'boxes')


def custom_segmentation(variables: Mapping) -> dict:
    """Complete the variables of a config for masks."""
    return _completed(variables, segmentation_data, 'masks')


def custom_classification(variables: Mapping) -> dict:
    """Complete the variables of a config for a folder per class."""
    return _completed(variables, classification_data, 'folders')


def _completed(variables: Mapping, look: Callable, kind: str) -> dict:
    warnings.warn('*_custom.py configs work until the next release; write a '
                  f'plain config: python tools/data.py config {kind} DIR',
                  FutureWarning, stacklevel=3)

    def complete(values: dict, may_look: bool) -> dict:
        values = _checked(values)
        count, classes = look(values) if may_look else (1, UNKNOWN)
        values['classes'] = values['classes'] or classes
        processes = int(os.environ.get('WORLD_SIZE', '1'))
        return dict(values, iterations=-(
            -count // (values['batch_size'] * processes)))

    return followed(variables, complete)


def _checked(values: dict) -> dict:
    for name in ('epochs', 'batch_size'):
        if not _is_positive(values[name]):
            raise UserError(f'{name} must be an integer of at least 1, not '
                            f'{values[name]!r}')
    if not isinstance(values['data_root'], str):
        raise UserError('data_root must be a folder, not '
                        f'{values["data_root"]!r}')
    size = values['image_size']
    pair = (size, size) if isinstance(size, int) else size
    if not (isinstance(pair, (list, tuple)) and len(pair) == 2
            and all(map(_is_positive, pair))):
        raise UserError('image_size must be width and height in pixels, such '
                        f'as (512, 512), not {size!r}')
    return dict(values, classes=_checked_classes(values['classes']),
                image_size=tuple(pair))


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) \
        and value > 0


def _checked_classes(classes: object) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, (str, int)):
        classes = [classes]
    if not isinstance(classes, (list, tuple)) or not classes:
        raise UserError("classes must be names, such as ('cat', 'dog'), not "
                        f'{classes!r}')
    names = tuple(map(str, classes))
    if len(set(names)) < len(names):
        raise UserError(f'classes holds a name twice: {some_of(names)}')
    return names


def detection_data(values: dict) -> tuple[int, tuple[str, ...]]:
    """Number of training images, and the classes of an annotation file."""
    path = _existing(values, 'train_ann_file')
    count, classes = remembered(['detection_data', os.path.abspath(path)],
                                partial(_images_and_classes, path))
    return count, tuple(classes)


def _images_and_classes(path: str) -> Result:
    content = read_to_load(path)
    if not content['categories']:
        raise UserError(f'{path} has no categories, so there are no classes')
    return (len(content['images']), content['categories']), [path]


def segmentation_data(values: dict) -> tuple[int, tuple[str, ...]]:
    """Number of training images, and the classes in ``classes.txt``."""
    count = _count_images(values)
    if values['classes']:
        return count, values['classes']
    file = os.path.join(values['data_root'], values['train_masks'],
                        CLASSES_FILE)
    if not os.path.isfile(file):
        raise UserError(f'{os.path.abspath(file)} not found: write the name '
                        'of a class into each line, value 0 first')
    names = read_lines(file)
    check_distinct(names, file)
    return count, tuple(names)


def classification_data(values: dict) -> tuple[int, tuple[str, ...]]:
    """Number of training images, and the folders, which are the classes."""
    folder = _existing(values, 'train_images')
    return _count_images(values), tuple(class_folders(folder))


def _count_images(values: dict) -> int:
    if values['train_list']:
        return len(read_lines(_existing(values, 'train_list')))
    folder = _existing(values, 'train_images')
    count = len(files_below(folder)[0])
    if not count:
        raise UserError(f'{os.path.abspath(folder)} holds no images')
    return count


def _existing(values: dict, name: str) -> str:
    path = os.path.join(values['data_root'], values[name])
    if not os.path.exists(path):
        raise UserError(
            f'data not found: {os.path.abspath(path)}. Set data_root, or move '
            'the config into the folder of the data')
    return path
