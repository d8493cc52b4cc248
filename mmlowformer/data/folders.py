"""Data sets of a folder for each class, as MMPreTrain's CustomDataset."""
import os

from mmengine.config import Config

from ..configs import kind_of
from ..errors import UserError, shown, some_of
from .paths import check_unlike, paths_of


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
    listed = os.path.join(dataset.get('data_root') or '', 'meta',
                          f'{dataset.get("split")}.txt')
    return bool(dataset.get('ann_file')) or os.path.exists(listed)


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
            f'not in this order.\n  folders: {shown(", ".join(names), 1000)}\n'
            f'  config:  {shown(", ".join(classes), 1000)}\n'
            'Set metainfo=dict(classes=(...)) to the folders, sorted by name')
