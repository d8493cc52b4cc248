"""Data sets named in a config, checked before anything is built."""
import json
import os
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.registry import DATASETS

from .errors import UserError, is_first_process

HOW_TO_GET = {
    'CocoDataset':
    'COCO 2017: "pip install -U openmim && mim download mmdet --dataset '
    'coco2017" puts it into data/coco',
}


def check_datasets(cfg: Config, dataloaders: list[str]) -> None:
    """Make sure that files exist and class names fit.

    Args:
        cfg (Config): The config.
        dataloaders (list[str]): Which ones, for example
            ``['train_dataloader']``. Those not in the config are passed over.

    Raises:
        UserError: If a file or folder is missing, cannot be read, or the
            categories of a COCO file are not the config's classes.
    """
    # One process is enough, the files are large.
    for name in dataloaders if is_first_process() else []:
        if cfg.get(name):
            for dataset in _leaves(cfg[name].dataset):
                if not dataset.get('backend_args'):
                    _check_paths(dataset, name)
                    _check_coco(dataset, cfg.get('default_scope'))


def _leaves(dataset: dict) -> Iterator[dict]:
    """The data sets inside of wrappers like RepeatDataset."""
    inner = dataset.get('dataset') or dataset.get('datasets')
    if not inner:
        yield dataset
    for item in inner if isinstance(inner, list) else [inner]:
        if item:
            yield from _leaves(item)


def _paths(dataset: dict) -> dict[str, str]:
    """Where the data set expects its files, by the config's key."""
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix') or {}
    if isinstance(prefix, str):
        prefix = dict(img_path=prefix)
    paths = dict(ann_file=dataset.get('ann_file'))
    paths.update(
        (f'data_prefix.{key}', path) for key, path in prefix.items())
    return {key: os.path.join(root, path) for key, path in paths.items()
            if isinstance(path, str) and path and '://' not in root + path}


def _check_paths(dataset: dict, dataloader: str) -> None:
    for key, path in _paths(dataset).items():
        if not os.path.exists(path):
            kind = dataset['type'].split('.')[-1]
            remedy = HOW_TO_GET.get(kind, 'The path is relative to the '
                                    'current folder')
            raise UserError(
                f'data not found: {os.path.abspath(path)} ({dataloader}, '
                f'{key}). {remedy}; if it is elsewhere: --cfg-options '
                'data_root=FOLDER')


def _check_coco(dataset: dict, scope: str | None) -> None:
    with DATASETS.switch_scope_and_registry(scope) as registry:
        cls = registry.get(dataset['type'])
    loader = getattr(cls, 'load_data_list', None)
    if getattr(loader, '__qualname__', '') != 'CocoDataset.load_data_list':
        return
    path = _paths(dataset)['ann_file']
    content = _read_json(path)
    metainfo = dataset.get('metainfo') or {}
    _check_categories(content, metainfo.get('classes',
                                            cls.METAINFO['classes']), path)
    _check_images(content, _paths(dataset).get('data_prefix.img'), path)


def _read_json(path: str) -> dict:
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
        names = [category['name'] for category in content['categories']]
        files = [image['file_name'] for image in content['images']]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is no COCO annotation file, or a truncated '
                        f'one: {error!r}') from error
    return dict(categories=names, images=files)


def _check_categories(content: dict, classes, path: str) -> None:
    if isinstance(classes, str):
        raise UserError(
            f"metainfo.classes is the text {classes!r}; it has to be a tuple, "
            f'and one of a single class needs a comma: ({classes!r}, )')
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
        f'the categories in {path} {problem}.\n'
        f'  file:   {", ".join(names)}\n'
        f'  config: {", ".join(classes)}\n'
        'Set metainfo=dict(classes=(...)) of the data sets to the names in '
        "the file, and the head's num_classes to their number.")


def _check_images(content: dict, folder: str | None, path: str) -> None:
    if folder is None:
        return
    present = {entry.name for entry in os.scandir(folder)}
    missing = [name for name in content['images'] if name not in present
               and not os.path.exists(os.path.join(folder, name))]
    if missing:
        raise UserError(
            f'{len(missing)} of {len(content["images"])} images in {path} are '
            f'not in {os.path.abspath(folder)}, first {missing[0]}')
