"""What a config of one's own data needs to know about them."""
import os
from collections.abc import Callable, Mapping

from ..config.variables import followed
from ..errors import UserError, some_of
from .checks.class_folders import class_folders
from .checks.coco_file import read_coco
from .paths import CLASSES_FILE, check_unlike, images_below, read_lines

# What stands for classes that are not known yet.
UNKNOWN = ('object', )


def own_boxes(variables: Mapping) -> dict:
    """Complete the variables of a config for boxes."""
    return _completed(variables, _look_at_boxes)


def own_masks(variables: Mapping) -> dict:
    """Complete the variables of a config for masks."""
    return _completed(variables, _look_at_masks)


def own_folders(variables: Mapping) -> dict:
    """Complete the variables of a config for a folder for each class."""
    return _completed(variables, _look_at_folders)


def _completed(variables: Mapping, look: Callable) -> dict:
    def complete(values: dict, may_look: bool) -> dict:
        values = _checked(values)
        count, classes = look(values) if may_look else (1, UNKNOWN)
        values['classes'] = values['classes'] or classes
        processes = int(os.environ.get('WORLD_SIZE', '1'))
        batch = values['batch_size'] * processes
        return dict(values, iterations=-(-count // batch))

    return followed(variables, complete)


def _checked(values: dict) -> dict:
    values = dict(values)
    for name in ('epochs', 'batch_size'):
        if not _is_positive(values[name]):
            raise UserError(f'{name} has to be an integer, at least 1, not '
                            f'{values[name]!r}')
    if not isinstance(values['data_root'], str):
        raise UserError('data_root has to be a folder, not '
                        f'{values["data_root"]!r}')
    values['classes'] = _checked_classes(values['classes'])
    values['image_size'] = _checked_size(values['image_size'])
    return values


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) \
        and value > 0


def _checked_classes(classes: object) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, (str, int)):
        classes = [classes]
    if not isinstance(classes, (list, tuple)) or not classes:
        raise UserError("classes has to be names, as ('cat', 'dog'), not "
                        f'{classes!r}')
    names = tuple(map(str, classes))
    if len(set(names)) < len(names):
        raise UserError(f'classes names one twice: {some_of(names)}')
    return names


def _checked_size(size: object) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else size
    if not (isinstance(pair, (list, tuple)) and len(pair) == 2
            and all(map(_is_positive, pair))):
        raise UserError('image_size has to be width and height in pixels, as '
                        f'(512, 512), not {size!r}')
    return pair[0], pair[1]


def _look_at_boxes(values: dict) -> tuple[int, tuple[str, ...]]:
    path = os.path.join(values['data_root'], values['train_ann_file'])
    content = read_coco(_existing(path))
    if not content['categories']:
        raise UserError(f'{path} has no categories, so there are no classes')
    return len(content['images']), tuple(content['categories'])


def _look_at_masks(values: dict) -> tuple[int, tuple[str, ...]]:
    masks = os.path.join(values['data_root'], values['train_masks'])
    count = _count(values)
    if values['classes']:
        return count, values['classes']
    file = os.path.join(masks, CLASSES_FILE)
    if not os.path.isfile(file):
        raise UserError(
            f'{os.path.abspath(file)} is not there: write the name of a class '
            "in each of its lines, that of the masks' value 0 first, or set "
            'classes')
    names = read_lines(file)
    check_unlike(names, file)
    return count, tuple(names)


def _look_at_folders(values: dict) -> tuple[int, tuple[str, ...]]:
    folder = _existing(os.path.join(values['data_root'],
                                    values['train_images']))
    names = class_folders(folder)
    if not names:
        raise UserError(f'{os.path.abspath(folder)} holds no folders; it '
                        'needs one for each class, with the images in it')
    return _count(values), tuple(names)


def _count(values: dict) -> int:
    root = values['data_root']
    if values['train_list']:
        return len(read_lines(_existing(os.path.join(
            root, values['train_list']))))
    folder = _existing(os.path.join(root, values['train_images']))
    count = len(images_below(folder))
    if not count:
        raise UserError(f'{os.path.abspath(folder)} holds no images')
    return count


def _existing(path: str) -> str:
    if not os.path.exists(path):
        raise UserError(
            f'data not found: {os.path.abspath(path)}. Set data_root, or put '
            'a copy of the config into the folder of the data')
    return path
