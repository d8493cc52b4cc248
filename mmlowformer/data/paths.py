"""Files and folders that a data set needs."""
import os

from ..errors import UserError

HOW_TO_GET = {
    'CocoDataset':
    'COCO 2017: unpack train2017.zip, val2017.zip and '
    'annotations_trainval2017.zip of https://cocodataset.org/#download into '
    'data/coco',
    'ADE20KDataset':
    'ADE20K: unpack http://data.csail.mit.edu/places/ADEchallenge/'
    'ADEChallengeData2016.zip into data/ade',
    'ImageNet':
    'ImageNet-1K: get it from https://image-net.org (an account is needed) '
    'and unpack it into data/imagenet/train and val, a folder for each class '
    'or with meta/train.txt and val.txt',
}


def paths_of(dataset: dict) -> dict[str, str]:
    """Where a data set expects its files, by the config's key.

    Args:
        dataset (dict): Config of the data set.

    Returns:
        dict[str, str]: The paths that are on this machine.
    """
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix') or dataset.get('split') or {}
    if isinstance(prefix, str):
        prefix = dict(img_path=prefix)
    paths = dict(ann_file=dataset.get('ann_file'))
    paths.update(
        (f'data_prefix.{key}', path) for key, path in prefix.items())
    return {key: os.path.join(root, path) for key, path in paths.items()
            if isinstance(path, str) and path and '://' not in root + path}


def check_paths(dataset: dict, dataloader: str) -> None:
    """Make sure that files and folders exist.

    Args:
        dataset (dict): Config of the data set.
        dataloader (str): Name of its data loader in the config.

    Raises:
        UserError: If one does not; the message says how to get it.
    """
    for key, path in paths_of(dataset).items():
        if not os.path.exists(path):
            kind = dataset['type'].split('.')[-1]
            remedy = HOW_TO_GET.get(kind, 'The path is relative to the '
                                    'current folder')
            raise UserError(
                f'data not found: {os.path.abspath(path)} ({dataloader}, '
                f'{key}). {remedy}; if it is elsewhere: --cfg-options '
                'data_root=FOLDER')
