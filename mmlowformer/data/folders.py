"""Data sets of a folder for each class, as MMPreTrain's CustomDataset."""
import os

from mmengine.config import Config

from ..configs import kind_of
from ..errors import UserError, shown, some_of
from .paths import check_names, check_unlike, paths_of, read_text

# Of longer lists evenly spaced names are looked for.
MOST_LISTED = 25_000


def check_folders(dataset: dict, classes: tuple | None,
                  cfg: Config, dataloader: str) -> None:
    """Make sure that the folders are the classes.

    Args:
        dataset (dict): Config of the data set.
        classes (tuple, optional): Names of the classes.
        cfg (Config): The whole config.
        dataloader (str): Name of the data loader.

    Raises:
        UserError: If there are no folders, or others than the classes.
    """
    if _has_list(dataset):
        _check_list(dataset, classes, cfg)
        return
    folder = paths_of(dataset).get('data_prefix.img_path')
    if folder is None:
        return
    names = class_folders(folder)
    where = os.path.abspath(folder)
    if not names:
        raise UserError(f'{where} holds no folders; it needs one for each '
                        'class, with the images in it')
    _check_count(names, classes, cfg, where)
    if classes and kind_of(dataset) == 'CustomDataset':
        _check_names(names, list(classes), where)


def class_folders(folder: str) -> list[str]:
    """Names of the classes that have a folder.

    Args:
        folder (str): The folder of these.

    Returns:
        list[str]: Sorted.

    Raises:
        UserError: If two differ in capitals alone, or a hidden folder
            (``.ipynb_checkpoints``) would be a class, or its images a
            class's, to MMPreTrain.
    """
    where = os.path.abspath(folder)
    names = sorted(entry.name for entry in os.scandir(folder)
                   if entry.is_dir())
    for inner in ('', *names):
        for entry in os.scandir(os.path.join(folder, inner)):
            if entry.name.startswith('.') and entry.is_dir():
                raise UserError(
                    f'{os.path.join(where, inner, entry.name)} is a hidden '
                    'folder, whose images would be learned, too: delete it')
    check_unlike(names, where)
    return names


def _has_list(dataset: dict) -> bool:
    """Whether a file lists images and labels."""
    return bool(dataset.get('ann_file')) or os.path.exists(_list_of(dataset))


def _list_of(dataset: dict) -> str:
    root = dataset.get('data_root') or ''
    return os.path.join(root, dataset.get('ann_file') or os.path.join(
        'meta', f'{dataset.get("split")}.txt'))


def _check_list(dataset: dict, classes: tuple | None, cfg: Config) -> None:
    """Make sure that a list names images, and numbers the classes."""
    if dataset.get('with_label') is False or dataset.get('split') == 'test':
        return
    path = _list_of(dataset)
    count = len(classes or ()) or (cfg.model.get('head') or {}).get(
        'num_classes')
    names, labels = [], []
    for number, line in enumerate(_lines(path), 1):
        name, _, label = line.strip().rpartition(' ')
        if not name or not (label.isascii() and label.isdecimal()) \
                or len(label) > 9:
            raise UserError(f'{path}, line {number} is no name of an image '
                            f'and number of a class: {shown(line)}')
        names.append(name)
        labels.append(int(label))
    check_names(names, path)
    if count and max(labels, default=0) >= count:
        raise UserError(f'{path} holds a class of the number {max(labels)}, '
                        f'of {count}, which are 0 to {count - 1}')
    _check_numbers(names, labels, list(classes or ()), path)
    if kind_of(dataset) == 'CustomDataset':
        _check_listed(names, paths_of(dataset), path)


def _lines(path: str) -> list[str]:
    """As MMPreTrain reads them, empty ones included."""
    lines = read_text(path).split('\n')
    if not any(map(str.strip, lines)):
        raise UserError(f'{path} is empty')
    return lines if lines[-1] else lines[:-1]


def _check_numbers(names: list[str], labels: list[int], classes: list[str],
                   path: str) -> None:
    folders = [name.split('/')[0] for name in names]
    if not set(folders) <= set(classes):
        return  # They are no classes.
    for name, folder, label in zip(names, folders, labels):
        if classes[label] != folder:
            raise UserError(
                f'{path} says that {shown(name)} is of class {label}, which '
                f'is {shown(classes[label])}: are the classes others than '
                'when the list was written? Write it anew: tools/data.py split'
                )


def _check_listed(names: list[str], paths: dict[str, str], path: str) -> None:
    folder = paths.get('data_prefix.img_path', '')
    for name in names[::-(-len(names) // MOST_LISTED)]:
        if not os.path.isfile(os.path.join(folder, name)):
            raise UserError(f'{path} names {shown(name)}, which is not in '
                            f'{os.path.abspath(folder)}')


def _check_count(names: list[str], classes: tuple | None, cfg: Config,
                 where: str) -> None:
    head = cfg.model.get('head') or {}
    for count, origin in ((classes and len(classes), 'classes'),
                          (head.get('num_classes'), "the head's num_classes")):
        if count and count != len(names):
            raise UserError(
                f'{where} has {len(names)} folders ({some_of(names, 5)}), but '
                f'{origin} of the config '
                f'{"are" if origin == "classes" else "is"} {count}')


def _check_names(names: list[str], classes: list[str], where: str) -> None:
    # MMPreTrain numbers the folders in the order of their names.
    if names != classes:
        raise UserError(
            f'the folders in {where} are not the classes of the config, or '
            f'not in this order (folders: {shown(", ".join(names), 800)}; '
            f'config: {shown(", ".join(classes), 800)}). Set '
            'metainfo=dict(classes=(...)) to the folders, sorted by name')
