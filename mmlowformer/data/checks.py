"""Data sets named in a config, checked before anything is built."""
from collections.abc import Callable, Iterator

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..errors import UserError, is_first_process
from .coco import check_coco, check_coco_boxes
from .folders import check_folders
from .identities import check_identities
from .masks import check_masks
from .paths import check_paths
from .sequences import check_sequences

# By where a data set's annotations are read; subclasses mostly inherit that.
CHECKS = {
    'CocoDataset.load_data_list': check_coco,
    'CustomDataset.load_data_list': check_folders,
    'BaseSegDataset.load_data_list': check_masks,
    'ListedMasks.load_data_list': check_masks,
    'Sequences.load_data_list': check_sequences,
    'CocoObjects.load_data_list': check_coco_boxes,
    'BaseVideoDataset.load_data_list': check_identities,
}


def check_datasets(cfg: Config, dataloaders: list[str]) -> None:
    """Make sure that files exist and class names fit.

    Args:
        cfg (Config): The config.
        dataloaders (list[str]): Which ones, for example
            ``['train_dataloader']``. Those not in the config are passed over.

    Raises:
        UserError: If a file or folder is missing, cannot be read, or its
            categories are not the config's classes.
    """
    # One process is enough, the files are large.
    for name in dataloaders if is_first_process() else []:
        if cfg.get(name):
            for dataset in datasets_in(cfg[name]):
                if not dataset.get('type'):
                    raise UserError(f'the data set of {name} has no type')
                if not dataset.get('backend_args'):
                    check_paths(dataset, name, cfg.get('data_root'))
                    _check_content(dataset, cfg, name)


def datasets_in(dataloader: dict) -> Iterator[dict]:
    """The data sets of a data loader, also those inside of wrappers.

    Args:
        dataloader (dict): Config of the data loader.

    Yields:
        dict: Config of a data set that is no wrapper like RepeatDataset.
    """
    yield from _leaves(dataloader['dataset'])


def _leaves(dataset: dict) -> Iterator[dict]:
    inner = dataset.get('dataset') or dataset.get('datasets')
    if not inner:
        yield dataset
    for item in inner if isinstance(inner, list) else [inner]:
        if item:
            yield from _leaves(item)


def _check_content(dataset: dict, cfg: Config, dataloader: str) -> None:
    cls = dataset['type']
    if isinstance(cls, str):
        with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as \
                registry:
            cls = registry.get(cls)
    check = _check_for(cls)
    if check:
        metainfo = {**getattr(cls, 'METAINFO', {}),
                    **(dataset.get('metainfo') or {})}
        check(dataset, metainfo.get('classes'), cfg, dataloader)


def _check_for(cls: type | None) -> Callable | None:
    loader = getattr(cls, 'load_data_list', None)
    return CHECKS.get(getattr(loader, '__qualname__', ''))
