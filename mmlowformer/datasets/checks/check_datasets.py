"""Checks of a config's data sets before anything is built."""
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module

from mmengine.config import Config
from mmengine.registry import DATASETS

from ...errors import UserError, is_first_process, shown
from ..paths import check_paths, read_lines

# Module and function of a check, by the method that reads a data set's
# annotations; subclasses inherit it. Imported when needed.
CHECKS = {
    'CocoDataset.load_data_list': ('.coco', 'check_coco'),
    'CustomDataset.load_data_list': ('.class_folders', 'check_folders'),
    'BaseSegDataset.load_data_list': ('.masks', 'check_masks'),
    'CustomSegDataset.load_data_list': ('.masks', 'check_masks'),
    'BaseSOTDataset.load_data_list': ('.sot', 'check_sot'),
    'CocoObjects.load_data_list': ('.coco', 'check_coco_boxes'),
    'BaseVideoDataset.load_data_list': ('.mot', 'check_mot'),
}


def check_datasets(cfg: Config, dataloaders: list[str]) -> None:
    """Make sure that files exist and class names fit."""
    known: tuple[list[str], str] = ([], '')
    # The files are large: only one process reads them.
    for name in dataloaders if is_first_process() else []:
        for dataset in datasets_in(cfg[name]) if cfg.get(name) else ():
            if not dataset.get('type'):
                raise UserError(f'the data set of {name} has no type')
            classes = class_names(dataset, cfg)
            if not dataset.get('backend_args'):
                check_paths(dataset, name, cfg.get('data_root'))
                check = _check_for(dataset_class(dataset, cfg))
                if check:
                    check(dataset, classes, cfg, name)
            if names_in(classes):
                check_order(*known, names_in(classes), name)
                known = known if known[0] else (names_in(classes), name)


def check_order(names: Sequence[str], where: str, others: Sequence[str],
                elsewhere: str) -> None:
    """Make sure that both sources number the classes in the same order."""
    numbers = numbers_of(names)
    for name, number in numbers_of(others).items():
        if numbers.get(name, number) != number:
            raise UserError(
                f'{shown(name)} is class {numbers[name]} of {where}, but '
                f'class {number} of {elsewhere}: names and labels would not '
                'match. Give both the same classes, in the same order')


def numbers_of(classes: Sequence[str]) -> dict[str, int]:
    """Number of each class whose name is unique."""
    times = Counter(classes)
    return {name: number for number, name in enumerate(classes)
            if times[name] == 1}


def names_in(value: object) -> list[str]:
    """Class names in a value of a config or file, if any."""
    if not isinstance(value, (list, tuple)):
        return []
    return [item for item in value if isinstance(item, str)]


def datasets_in(part: dict) -> Iterator[dict]:
    """The data sets of a data loader, or of a wrapper of data sets."""
    inner = part.get('dataset') or part.get('datasets')
    if not inner:
        yield part
    for item in inner if isinstance(inner, list) else [inner]:
        if item:
            yield from datasets_in(item)


def class_names(dataset: dict, cfg: Config) -> object:
    """The class names that a data set will use."""
    classes = dataset.get('classes')  # of MMPreTrain
    metainfo = {**getattr(dataset_class(dataset, cfg), 'METAINFO', {}),
                **({'classes': classes} if classes else {}),
                **(dataset.get('metainfo') or {})}
    classes = metainfo.get('classes')
    if isinstance(classes, str) and os.path.isfile(classes):
        return tuple(read_lines(classes))
    return classes


def dataset_class(dataset: dict, cfg: Config) -> type | None:
    """The class that a data set is built of."""
    kind = dataset.get('type')
    if not isinstance(kind, str):
        return kind
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as \
            registry:
        return registry.get(kind)


def _check_for(cls: type | None) -> Callable | None:
    loader = getattr(cls, 'load_data_list', None)
    found = CHECKS.get(getattr(loader, '__qualname__', ''))
    return found and getattr(import_module(found[0], __package__), found[1])
