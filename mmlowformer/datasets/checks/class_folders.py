"""Checks of data sets with a folder per class, or a list of images."""
import os
from collections.abc import Sequence

from mmengine.config import Config

from ...config.loading import kind_of
from ...errors import UserError, printable, shown, some_of
from ..paths import check_distinct, check_names, paths_of, read_text
from .check_datasets import Result, numbers_of

# The existence of so many images is checked; of more, evenly spaced ones.
MOST_IMAGES = 25_000


def check_folders(dataset: dict, classes: tuple | None,
                  cfg: Config, dataloader: str) -> Result:
    """Make sure that the folders or labels match the classes."""
    folder = paths_of(dataset).get('data_prefix.img_path')
    listed = _list_of(dataset)
    # ImageNet's test split has no labels.
    if not dataset.get('with_label', True) or dataset.get('split') == 'test':
        return [], ()
    if listed:
        return _check_list(listed, folder, classes, cfg, dataloader), ()
    if folder is not None:
        _check_class_folders(dataset, folder, classes, cfg)
    return [], ()


def _check_class_folders(dataset: dict, folder: str, classes: tuple | None,
                         cfg: Config) -> None:
    names, where = class_folders(folder), os.path.abspath(folder)
    num_classes = (cfg.model.get('head') or {}).get('num_classes')
    for count, what in (
            (classes and len(classes), 'classes of the config are'),
            (num_classes, "the head's num_classes of the config is")):
        if count and count != len(names):
            raise UserError(f'{where} has {len(names)} folders '
                            f'({some_of(names, 5)}), but {what} {count}'
                            + _missing_folders(names, classes, where))
    # MMPreTrain numbers the folders in alphabetical order.
    if classes and kind_of(dataset) == 'CustomDataset' \
            and names != list(classes):
        raise UserError(
            f'the folders in {where} are not the classes of the config, or '
            f'not in this order (folders: {shown(", ".join(names), 800)}; '
            f'config: {shown(", ".join(classes), 800)}). Set '
            'metainfo=dict(classes=(...)) to the folders, sorted by name')


def _missing_folders(names: Sequence[str], classes: Sequence[str] | None,
                     where: str) -> str:
    """The remedy for a part of the data that lacks some classes."""
    missing = [name for name in classes or () if name not in names]
    if not missing or not set(names) < set(classes or ()):
        return ''
    return (f'. For classes without images there ({some_of(missing)}), create '
            f'empty folders in {where}')


def class_folders(folder: str) -> list[str]:
    """Names of the classes that have a folder."""
    where = os.path.abspath(folder)
    names = sorted(entry.name for entry in os.scandir(folder)
                   if entry.is_dir())
    for inner in ('', *names):
        for entry in os.scandir(os.path.join(folder, inner)):
            if entry.name.startswith('.') and entry.is_dir():
                raise UserError(
                    f'{os.path.join(where, inner, entry.name)} is a hidden '
                    'folder, but MMPreTrain would train on it: delete it')
    if not names:
        raise UserError(f'{where} holds no folders: put the images of each '
                        'class into a folder')
    check_distinct(names, where)
    return names


def _list_of(dataset: dict) -> str | None:
    """The file that lists images and labels, if any."""
    if dataset.get('ann_file'):
        return paths_of(dataset).get('ann_file')
    listed = os.path.join(dataset.get('data_root') or '', 'meta',
                          f'{dataset.get("split")}.txt')
    return listed if os.path.exists(listed) else None


def _check_list(path: str, folder: str | None, classes: tuple | None,
                cfg: Config, dataloader: str) -> list[str]:
    count = len(classes) if classes else (cfg.model.get('head') or {}).get(
        'num_classes')
    labels = read_labels(path)
    for name, label in labels.items():
        if count and label >= count:
            raise UserError(f'{path} gives {shown(name)} the class {label}, '
                            f'but {count} classes end at {count - 1}')
    if mismatch := label_mismatch(labels, classes or ()):
        raise UserError(f'{path}: {mismatch}. Split the images again, or set '
                        'classes to the names in the order of its numbers')
    some = list(labels)[::-(-len(labels) // MOST_IMAGES)]
    missing = [name for name in some if folder
               and not os.path.isfile(os.path.join(folder, name))]
    if missing:
        raise UserError(f'{len(missing)} of {len(some)} images in {path} are '
                        f'not in {os.path.abspath(str(folder))}, first '
                        f'{shown(missing[0])}')
    return unused_classes(
        set(labels.values()), classes or (), f'{path} lists no image',
        dataloader)


def unused_classes(found: set[int], classes: Sequence[str], what: str,
                   dataloader: str) -> list[str]:
    """Warnings of classes that a training cannot learn."""
    unused = [name for index, name in enumerate(classes)
              if index not in found]
    if not unused or not dataloader.startswith('train'):
        return []
    return [f'{what} of {some_of(unused)}: {len(unused)} of {len(classes)} '
            'classes cannot be learned.']


def read_labels(path: str) -> dict[str, int]:
    """Read a list of images and the numbers of their classes."""
    labels: dict[str, int] = {}
    for position, line in enumerate(_lines(path), 1):
        name, _, number = line.strip().rpartition(' ')
        if not (name and number.isascii() and number.isdecimal()
                and len(number) < 10):
            raise UserError(f'{path}, line {position} is not an image name '
                            f'and a class number: {shown(line)}')
        if labels.setdefault(name, int(number)) != int(number):
            raise UserError(f'{path} gives {shown(name)} the classes '
                            f'{labels[name]} and {int(number)}')
    check_names(labels, path)
    return labels


def _lines(path: str) -> list[str]:
    """Lines as MMPreTrain reads them, with empty ones."""
    lines = read_text(path).split('\n')
    if not any(map(str.strip, lines)):
        raise UserError(f'{path} is empty')
    return lines if lines[-1] else lines[:-1]


def label_mismatch(labels: dict[str, int], classes: Sequence[str]) -> str:
    """Describe an image whose label differs from its class folder."""
    numbers = numbers_of(classes)
    for name, label in labels.items():
        folder = name.split('/')[0]
        if numbers.get(folder, label) != label:
            return (f'{printable(name)} has class {label}, but '
                    f'{printable(folder)} is class {numbers[folder]}')
    return ''
