"""Data sets of videos in which an object is followed."""
import os
from collections.abc import Iterator
from itertools import islice

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS
from rich.progress import track

from ...config.loading import kind_of
from ...errors import UserError

# So many of them are named.
SHOWN = 3


def check_sequences(dataset: dict, classes: tuple | None,
                    cfg: Config, dataloader: str) -> None:
    """Make sure that frames are there, as many as boxes, and boxes usable."""
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as \
            registry:
        videos = registry.build(dict(dataset, pipeline=[], lazy_init=True))
    records = videos.load_data_list()
    followed = bool(dataset.get('pipeline'))
    problems = [text for record in track(
        records, f'{kind_of(dataset)}: checking', transient=True)
        for text in _problems(record, followed)]
    if problems:
        more = len(problems) - SHOWN
        raise UserError(f'{os.path.abspath(videos.data_root)}: ' + '; '.join(
            islice(problems, SHOWN)) + (
                f'; and {more} more' if more > 0 else ''))


def _problems(record: dict, followed: bool) -> Iterator[str]:
    name, frames = record['name'], record['frames']
    boxes, folder = record['boxes'], record['frames'].folder
    if not os.path.isdir(folder):
        yield f'video {name}: there is no folder of frames {folder}'
        return
    files = {entry.name for entry in os.scandir(folder) if entry.is_file()}
    missing = [path for path in (frames[index] for index in
                                 range(len(frames)))
               if os.path.basename(path) not in files]
    if missing:
        yield (f'video {name}: {len(missing)} of {len(frames)} frames are '
               f'missing, the first is {missing[0]}')
    if len(frames) < len(boxes):
        yield (f'video {name} has {len(frames)} frames and {len(boxes)} '
               'boxes')
    if not record['visible'].any():
        yield (f'video {name}: there is no frame in which the object is '
               'visible and has a box with an area')
    elif followed and not _has_area(boxes[0]):
        yield (f'video {name}: the first box is '
               f'{",".join(f"{value:g}" for value in boxes[0])}, so that '
               'there is nothing to follow')


def _has_area(box: np.ndarray) -> bool:
    return bool(np.isfinite(box).all() and (box[2:] > 0).all())
