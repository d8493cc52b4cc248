"""Checks of data sets for single object tracking."""
import os
from collections.abc import Iterator

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS
from rich.progress import track

from ...config.loading import kind_of
from ...errors import AnnotationErrors
from .check_datasets import Result


def check_sot(dataset: dict, classes: tuple | None, cfg: Config,
              dataloader: str) -> Result:
    """Make sure that each box has a frame and that boxes are usable."""
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as \
            registry:
        videos = registry.build(dict(dataset, pipeline=[], lazy_init=True))
    tracked = bool(dataset.get('pipeline'))
    AnnotationErrors(error for record in track(
        videos.load_data_list(), f'{kind_of(dataset)}: checking',
        transient=True) for error in _find_errors(record, tracked)).check(
            os.path.abspath(videos.data_root), 'Fix these videos')
    return [], ()


def _find_errors(record: dict, tracked: bool) -> Iterator[tuple[str, str]]:
    name, frames, boxes = record['name'], record['frames'], record['boxes']
    if not os.path.isdir(frames.folder):
        yield 'video without its folder of frames', f'{name}: {frames.folder}'
        return
    files = {entry.name for entry in os.scandir(frames.folder)
             if entry.is_file()}
    names = (os.path.basename(frames[index]) for index in range(len(frames)))
    missing = [file for file in names if file not in files]
    if missing:
        yield ('video with missing frames', f'{name}: {len(missing)} of '
               f'{len(frames)} frames are missing, the first is {missing[0]}')
    if len(frames) < len(boxes):
        yield ('video with more boxes than frames',
               f'{name}: {len(boxes)} boxes, {len(frames)} frames')
    if not record['visible'].any():
        yield ('video with no frame in which the object is visible and its '
               'box has an area', name)
    elif tracked and not (np.isfinite(boxes[0]).all()
                          and (boxes[0][2:] > 0).all()):
        yield ('video whose first box has no area', f'{name}: the first box '
               f'is {",".join(f"{value:g}" for value in boxes[0])}')
