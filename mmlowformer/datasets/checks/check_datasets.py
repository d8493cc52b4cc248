"""Checks of a config's data sets before anything is built."""
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from ... import __version__
from ...config.loading import dicts_in, kind_of
from ...errors import UserError, is_first_process, shown
from ...utils.files import atomic_write, cache_file
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
# A result and the files and folders that it depends on.
Result = tuple[Any, Collection[str]]
# Clocks of file systems are that coarse (FAT has 2 s).
COARSE = 2 * 10**9


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
                for text in _warnings(dataset, classes, cfg, name):
                    print_log(text, 'current', logging.WARNING)
            if names_in(classes):
                check_order(*known, names_in(classes), name)
                known = known if known[0] else (names_in(classes), name)


def _warnings(dataset: dict, classes: object, cfg: Config, name: str
              ) -> list[str]:
    """Check a data set that was not checked before, or has changed."""
    cls = dataset_class(dataset, cfg)
    check = _check_for(cls)
    if check is None:
        return []
    # Other transforms and models do not matter.
    steps = [step for _, step in dicts_in(dataset.get('pipeline'))
             if str(kind_of(step)).startswith('Load')]
    counts = [part['num_classes'] for _, part in dicts_in(cfg.get('model'))
              if 'num_classes' in part]
    question = (cls, name, classes, dict(dataset, pipeline=steps), counts,
                os.getcwd())
    return remembered(question, partial(check, dataset, classes, cfg, name))


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


def check_categories(content: dict, classes: object, path: str) -> None:
    """Make sure that the categories of a COCO file are the classes."""
    if isinstance(classes, str):
        raise UserError(
            f'metainfo.classes is the text {classes!r}; it must be a tuple, '
            f'and a tuple of one class needs a comma: ({classes!r}, )')
    if not isinstance(classes, (tuple, list)):
        raise UserError(f'metainfo.classes must be a tuple of names, not '
                        f'{classes!r}')
    names = content['categories']
    wanted = {name for name in classes if isinstance(name, str)}
    # MMDetection numbers the classes in the order of the file.
    if [name for name in names if name in wanted] == list(classes):
        return
    problem = ("are not in the order of the config's classes, so that names "
               'and labels would not match' if wanted <= set(names) else
               "do not match the config's classes")
    raise UserError(
        f'the categories in {path} {problem} (file: '
        f'{shown(", ".join(names), 800)}; config: '
        f'{shown(", ".join(classes), 800)}). Set metainfo=dict(classes=(...)) '
        "of the data sets to the names in the file, and the head's "
        'num_classes to their number.')


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


def remembered(question: object, check: Callable[[], Result]) -> Any:
    """The result of a check, which is not repeated if no file has changed.

    Args:
        question (object): All that the result depends on but the files.
        check (Callable): Returns the result, as JSON can hold it, and the
            files, and folders with the files in them, that it depends on;
            without any, the result is not remembered.
    """
    file = _record_of(question)
    record = _read(file)
    if record and record['state'] == _state(record['paths'])[0]:
        return record['result']
    started = time.time_ns()
    result, paths = check()
    paths = sorted(map(os.path.abspath, paths))
    state, newest = _state(paths)
    # Whoever writes a file now might change neither its time nor its size.
    if paths and newest < started - COARSE:
        _write(file, dict(paths=paths, state=state, result=result))
    return result


def _record_of(question: object) -> Path:
    text = json.dumps([_version(), question], default=str)
    return cache_file(f'checks/{sha256(text.encode()).hexdigest()}.json')


@cache
def _version() -> str:
    """Another one for each release, and each change of these files."""
    code = sha256(__version__.encode())
    for file in sorted(Path(__file__).parent.glob('*.py')):
        code.update(file.read_bytes())
    return code.hexdigest()


def _read(file: Path) -> dict | None:
    try:
        record = json.loads(file.read_bytes())
        return record if {*record} == {'paths', 'state', 'result'} else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _write(file: Path, record: dict) -> None:
    # Without a place to write, the next start checks again.
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, f'.{os.getpid()}') as part:
            part.write_text(json.dumps(record), encoding='utf-8')


def _state(paths: Collection[str]) -> tuple[str | None, int]:
    """A digest of sizes and times, and the newest time in nanoseconds."""
    digest, newest = sha256(), 0
    try:
        for name, info in _files(paths):
            times = info.st_mtime_ns, info.st_ctime_ns
            digest.update(os.fsencode(f'{name}\0{info.st_size}\0{times}\n'))
            newest = max(newest, *times)
    except OSError:
        return None, time.time_ns()
    return digest.hexdigest(), newest


def _files(paths: Collection[str]) -> Iterator[tuple[str, os.stat_result]]:
    for path in paths:
        yield path, os.stat(path)
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    yield entry.name, _stat(entry)


def _stat(entry: os.DirEntry) -> os.stat_result:
    try:
        return entry.stat()
    except OSError:  # A link to nothing.
        return entry.stat(follow_symlinks=False)
