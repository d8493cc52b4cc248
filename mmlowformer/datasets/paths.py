"""Files and folders of data sets, and lists of them."""
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..config.loading import kind_of
from ..errors import UserError, first_line, is_printable, shown
from ..utils.files import PREDICTIONS

# Suffixes of readable images.
IMAGES = ('.avif', '.bmp', '.dib', '.gif', '.jp2', '.jpe', '.jpeg', '.jpg',
          '.pbm', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
# Beside masks: a class per line, value 0 first.
CLASSES_FILE = 'classes.txt'

# Bytes of a file name.
LONGEST_PART = 255

COCO = ('COCO 2017: unpack train2017.zip, val2017.zip and '
        'annotations_trainval2017.zip of https://cocodataset.org/#download '
        'into data/coco')
MOT17 = ('MOT17: unpack MOT17.zip of https://motchallenge.net/data/MOT17 into '
         "data/MOT17 and run MMDetection's tools/dataset_converters/"
         'mot2coco.py -i data/MOT17 -o data/MOT17/annotations --split-train, '
         'or generate videos: python tools/make_shapes.py data/shape_crowds '
         '--mot')
# By the end of the annotation file's name.
IN_COCO_FORMAT = {'_train2017.json': COCO, '_val2017.json': COCO,
                  '_cocoformat.json': MOT17}
HOW_TO_GET = dict(
    ADE20KDataset='ADE20K: unpack http://data.csail.mit.edu/places/'
    'ADEchallenge/ADEChallengeData2016.zip into data/ade',
    ImageNet='ImageNet-1K: download it from https://image-net.org (needs an '
    'account) and unpack it into data/imagenet/train and val, with a folder '
    'per class or with meta/train.txt and val.txt',
    GOT10k='GOT-10k: download it from http://got-10k.aitestunion.com/downloads'
    ' (needs an account) and unpack it into data/got10k/train, val and test, '
    'or generate videos: python tools/make_shapes.py data/shape_videos '
    '--videos',
    LaSOT='LaSOT: unpack the classes of http://vision.cs.stonybrook.edu/'
    "~lasot/ into data/lasot, beside its toolkit's training_set.txt and "
    'testing_set.txt',
    TrackingNet='TrackingNet: download it into data/trackingnet with '
    'https://github.com/SilvioGiancola/TrackingNet-devkit',
    MOTChallengeDataset=MOT17)

# Folders of the generated images.
SHAPES = ('coco', 'ade', 'folders')
RELATIVE = 'The path is relative to the current folder'


def paths_of(dataset: dict) -> dict[str, str]:
    """Paths of a data set's files, by the config's key."""
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
    """Make sure that files and folders exist."""
    for key, path in paths_of(dataset).items():
        if not _is_read(dataset, key):
            continue
        if key.startswith('data_prefix') and os.path.isfile(path.rstrip('/')):
            raise UserError(f'{os.path.abspath(path)} ({dataloader}, {key}) '
                            'is a file, it must be a folder')
        if not os.path.exists(path):
            raise UserError(
                f'data not found: {os.path.abspath(path)} ({dataloader}, '
                f'{key}). {_how_to_get(dataset)}; if it is elsewhere: '
                '--cfg-options '
                f'{_option(dataset, dataloader, data_root)}=FOLDER')


def _how_to_get(dataset: dict) -> str:
    """Where to get a known data set; else, how its path is read."""
    root = Path(dataset.get('data_root') or '')
    if root.parent.name == 'shapes' and root.name in SHAPES:
        return f'Generate it: python tools/make_shapes.py {root.parent}'
    kind, file = kind_of(dataset), str(dataset.get('ann_file'))
    if kind in ('CocoDataset', 'CocoObjects'):
        return next((text for end, text in IN_COCO_FORMAT.items()
                     if file.endswith(end)), RELATIVE)
    return HOW_TO_GET.get(kind, RELATIVE)


def _is_read(dataset: dict, key: str) -> bool:
    """Whether a path is read: MMDetection's masks only if a step loads them.

    Mask2Former's config of instances inherits those of the panoptic one.
    """
    return key != 'data_prefix.seg' or any(
        step.get('with_seg') or 'Panoptic' in kind_of(step)
        for step in dataset.get('pipeline') or ())


def _option(dataset: dict, dataloader: str, data_root: str | None) -> str:
    """The option that moves a data set."""
    own = dataset.get('data_root') or ''
    if not data_root or f'{own}/'.startswith(data_root.rstrip('/') + '/'):
        return 'data_root'
    return f'{dataloader}.dataset.data_root'


def files_below(folder: str | Path, suffixes: tuple[str, ...] = IMAGES
                ) -> tuple[list[str], int]:
    """Files of a folder and its sub-folders, and the number of hidden ones.

    Results in sub-folders are left out, as they hold drawings of images.
    """
    names, hidden = [], 0
    for name, entry in _walk(str(folder), '', {os.path.realpath(folder)}):
        if (os.path.splitext(entry.name)[1].lower() not in suffixes
                or not entry.is_file()):
            continue
        if name.startswith('.') or '/.' in name:
            hidden += 1
        else:
            names.append(name)
    return sorted(names), hidden


def _walk(folder: str, below: str, seen: set[str]
          ) -> Iterator[tuple[str, os.DirEntry]]:
    """Files below a folder, by their paths in it; linked folders only once."""
    if below and os.path.isfile(os.path.join(folder, below, PREDICTIONS)):
        return
    inner, linked = [], []
    with os.scandir(os.path.join(folder, below)) as entries:
        for entry in entries:
            name = f'{below}{entry.name}'
            if not entry.is_dir():
                yield name, entry
            elif entry.is_symlink():
                linked.append(f'{name}/')
            else:
                inner.append(f'{name}/')
    for name in sorted(inner):
        yield from _walk(folder, name, seen)
    for name in sorted(linked):
        target = os.path.realpath(os.path.join(folder, name))
        if not any(str(path) in seen for path in
                   (target, *Path(target).parents)):
            seen.add(target)
            yield from _walk(folder, name, seen)


def has_parent_reference(name: str) -> bool:
    """Whether a path contains ``..``."""
    return '..' in name.replace('\\', '/').split('/')


def check_names(names: Iterable[str], path: str | Path) -> None:
    """Make sure that the names in a file are paths below a folder."""
    for name in names:
        longest = max(map(len, os.fsencode(name).split(b'/')))
        if longest > LONGEST_PART or has_parent_reference(name) \
                or name != name.strip() or not is_printable(name):
            raise UserError(f'{path} names {shown(repr(name))}: that is not a '
                            'file name, or it contains .., control characters '
                            'or spaces at its ends')


def check_regular(path: str | Path) -> None:
    """Refuse pipes, whose reading would wait."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f'{path} is not a regular file')


def read_text(path: str | Path, encoding: str = 'utf-8') -> str:
    """Read a text file."""
    check_regular(path)
    try:
        return Path(path).read_text(encoding=encoding)
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read: {first_line(error)}'
                        ) from error


def check_distinct(names: Iterable[str], source: str | Path) -> None:
    """Make sure that classes have distinct names."""
    known: dict[str, str] = {}
    for name in names:
        key = ' '.join(name.split()).casefold()
        if key in known:
            raise UserError(
                f'{source} has two classes of one name: '
                f'{shown(repr(known[key]))} and {shown(repr(name))}. Rename '
                'or merge them')
        known[key] = name


def mask_of(folder: str, name: str) -> str:
    """Path of an image's mask."""
    full = os.path.join(folder, f'{name}.png')
    short = os.path.join(folder, f'{os.path.splitext(name)[0]}.png')
    return short if os.path.exists(short) and not os.path.exists(full) \
        else full


def shared_masks(folder: str, names: Iterable[str]) -> Iterator[
        tuple[str, str, str]]:
    """Masks that two images share, such as ``a.jpg`` and ``a.png``."""
    owners: dict[str, str] = {}
    for name in names:
        mask = mask_of(folder, name)
        owner = owners.setdefault(mask, name)
        if owner != name:
            yield mask, owner, name


def read_lines(path: str | Path) -> list[str]:
    """Non-empty lines of a text file."""
    lines = [line.strip() for line in
             read_text(path, 'utf-8-sig').splitlines() if line.strip()]
    if not lines:
        raise UserError(f'{path} is empty')
    return lines
