"""Checks of data sets for single object tracking."""
import os
from collections.abc import Iterator
from itertools import islice

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS
from rich.progress import track

from ...config.loading import kind_of
from ...errors import UserError
from .remembered import Result

# So many problems are named.
SHOWN = 3


def check_sot(dataset: dict, classes: tuple | None, cfg: Config,
              dataloader: str) -> Result:
    """Make sure that each box has a frame and that boxes are usable."""
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as \
            registry:
        videos = registry.build(dict(dataset, pipeline=[], lazy_init=True))
    tracked = bool(dataset.get('pipeline'))
    problems = [text for record in track(
        videos.load_data_list(), f'{kind_of(dataset)}: checking',
        transient=True) for text in _problems(record, tracked)]
    if problems:
        more = len(problems) - SHOWN
        raise UserError(f'{os.path.abspath(videos.data_root)}: ' + '; '.join(
            islice(problems, SHOWN)) + (
                f'; and {more} more' if more > 0 else ''))
    return [], ()


def _problems(record: dict, tracked: bool) -> Iterator[str]:
    name, frames, boxes = record['name'], record['frames'], record['boxes']
    if not os.path.isdir(frames.folder):
        yield f'video {name}: no folder of frames {frames.folder}'
        return
    files = {entry.name for entry in os.scandir(frames.folder)
             if entry.is_file()}
    missing = [path for path in map(frames.__getitem__, range(len(frames)))
               if os.path.basename(path) not in files]
    if missing:
        yield (f'video {name}: {len(missing)} of {len(frames)} frames are '
               f'missing, the first is {missing[0]}')
    if len(frames) < len(boxes):
        yield (f'video {name} has {len(frames)} frames and {len(boxes)} '
               'boxes')
    if not record['visible'].any():
        yield (f'video {name}: no frame in which the object is visible and '
               'its box has an area')
    elif tracked and not _has_area(boxes[0]):
        yield (f'video {name}: the first box is '
               f'{",".join(f"{value:g}" for value in boxes[0])}, it needs an '
               'area')


def _has_area(box: np.ndarray) -> bool:
    return bool(np.isfinite(box).all() and (box[2:] > 0).all())
