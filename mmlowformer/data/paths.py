"""Files and folders that a data set needs."""
import os
from pathlib import Path

from ..configs import kind_of
from ..errors import UserError

# Suffixes of images that can be read.
IMAGES = ('.avif', '.bmp', '.dib', '.gif', '.jp2', '.jpe', '.jpeg', '.jpg',
          '.pbm', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')

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
    'GOT10k':
    'GOT-10k: get it from http://got-10k.aitestunion.com/downloads (an '
    'account is needed) and unpack it into data/got10k/train, val and test; '
    'generated videos: python tools/make_shapes.py data/shape_videos '
    '--videos',
    'LaSOT':
    'LaSOT: unpack the classes of http://vision.cs.stonybrook.edu/~lasot/ '
    'into data/lasot, with training_set.txt and testing_set.txt of its '
    'toolkit beside them',
    'TrackingNet':
    'TrackingNet: fetch it with '
    'https://github.com/SilvioGiancola/TrackingNet-devkit into '
    'data/trackingnet',
    'MOTChallengeDataset':
    'MOT17: unpack MOT17.zip of https://motchallenge.net/data/MOT17 into '
    "data/MOT17 and run MMDetection's "
    'tools/dataset_converters/mot2coco.py -i data/MOT17 -o '
    'data/MOT17/annotations --split-train; generated videos: python '
    'tools/make_shapes.py data/shape_crowds --mot',
    'CocoObjects':
    'COCO 2017: unpack train2017.zip and annotations_trainval2017.zip of '
    'https://cocodataset.org/#download into data/coco',
}

RELATIVE = 'The path is relative to the current folder'


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


def check_paths(dataset: dict, dataloader: str, data_root: str | None
                ) -> None:
    """Make sure that files and folders exist.

    Args:
        dataset (dict): Config of the data set.
        dataloader (str): Name of its data loader in the config.
        data_root (str, optional): What ``--cfg-options data_root`` moves.

    Raises:
        UserError: If one does not, the message says how to get it; or if a
            folder is a file.
    """
    for key, path in paths_of(dataset).items():
        if key.startswith('data_prefix') and os.path.isfile(path.rstrip('/')):
            raise UserError(f'{os.path.abspath(path)} ({dataloader}, {key}) '
                            'is a file, it has to be a folder')
        if not os.path.exists(path):
            remedy = HOW_TO_GET.get(kind_of(dataset), RELATIVE)
            raise UserError(
                f'data not found: {os.path.abspath(path)} ({dataloader}, '
                f'{key}). {remedy}; if it is elsewhere: --cfg-options '
                f'{_option(dataset, dataloader, data_root)}=FOLDER')


def _option(dataset: dict, dataloader: str, data_root: str | None) -> str:
    """The option that moves a data set."""
    own = dataset.get('data_root') or ''
    if not data_root or f'{own}/'.startswith(data_root.rstrip('/') + '/'):
        return 'data_root'
    return f'{dataloader}.dataset.data_root'


def images_below(folder: str | Path) -> list[str]:
    """Images of a folder and of those in it.

    Args:
        folder (str | Path): The folder.

    Returns:
        list[str]: Paths below it, with ``/``, sorted.
    """
    root = Path(folder)
    return sorted(path.relative_to(root).as_posix()
                  for path in root.rglob('*')
                  if path.suffix.lower() in IMAGES and path.is_file())


def mask_of(folder: str, name: str) -> str:
    """Path of an image's mask.

    Args:
        folder (str): Of the masks.
        name (str): Of the image, below its folder.

    Returns:
        str: The path, which need not exist.
    """
    whole = os.path.join(folder, f'{name}.png')
    bare = os.path.join(folder, f'{os.path.splitext(name)[0]}.png')
    return bare if os.path.exists(bare) and not os.path.exists(whole) \
        else whole
