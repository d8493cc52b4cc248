"""Errors that name the damaged image, and one decoder for all images."""
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, Compose, LoadImageFromFile
from mmengine import fileio
from mmengine.dataset import Compose as MMEngineCompose
from torch.utils.data import Dataset

from ..errors import UserError, first_line
from ..utils.images import OPENCV, PILLOW, content_of, decode

# By mmcv's names.
LIBRARIES = dict(cv2=OPENCV, pillow=PILLOW)


def name_images_in_errors(dataset: Any) -> None:
    """Wrap the pipelines of a data set, and of those inside wrappers."""
    pipeline = getattr(dataset, 'pipeline', None)
    if callable(pipeline) and not isinstance(pipeline, ImageErrorPipeline):
        dataset.pipeline = ImageErrorPipeline(pipeline)
    for inner in getattr(dataset, 'datasets', None) or [
            getattr(dataset, 'dataset', None)]:
        if isinstance(inner, Dataset):
            name_images_in_errors(inner)


class LoadCheckedImage(LoadImageFromFile):
    """Decodes images with :func:`mmlowformer.utils.images.decode`."""

    def transform(self, results: dict) -> dict | None:
        """Read an image."""
        path = results['img_path']
        try:
            image = decode(
                content_of(path, partial(fileio.get,
                                         backend_args=self.backend_args)),
                LIBRARIES[self.imdecode_backend], f'image {path}')
        except Exception:
            if self.ignore_empty:
                return None
            raise
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


def use_checked_loader(step: object) -> None:
    """Let loaders in a pipeline read 16 bits and refuse unusual files."""
    if isinstance(step, LoadImageFromFile):
        # Subclasses may read in other ways.
        if (type(step) is LoadImageFromFile and step.color_type == 'color'
                and step.imdecode_backend in LIBRARIES
                and step.file_client_args is None):
            step.__class__ = LoadCheckedImage
    elif isinstance(step, (BaseTransform, Compose, MMEngineCompose)):
        use_checked_loader(vars(step))
    elif isinstance(step, (dict, list, tuple)):
        for part in step.values() if isinstance(step, dict) else step:
            use_checked_loader(part)


class ImageErrorPipeline:
    """A pipeline whose errors name the image."""

    def __init__(self, pipeline: Callable):
        self.pipeline = pipeline
        use_checked_loader(pipeline)

    def __getattr__(self, name: str):
        # Unpickling in a worker asks before pipeline is set.
        if name == 'pipeline':
            raise AttributeError(name)
        return getattr(self.pipeline, name)

    def __call__(self, record: dict) -> dict | None:
        """Run the pipeline."""
        # Transforms may change the record.
        paths = list(_paths_of(record))
        try:
            return self.pipeline(record)
        except UserError:
            raise
        except Exception as error:
            for path in paths:
                problem = _problem(path, error)
                if problem:
                    raise UserError(f'image {path} {problem}') from error
            raise


def _paths_of(record: object) -> Iterator[str]:
    """Paths of an image, or of the frames of a video."""
    if not isinstance(record, dict):
        return
    given = record.get('img_path')
    paths = given if isinstance(given, list) else [given]
    frames = [frame.get('img_path') for frame in record.get('images') or ()
              if isinstance(frame, dict)]
    yield from (path for path in [*paths, *frames] if isinstance(path, str))


def _problem(path: str, error: Exception) -> str | None:
    """Describe the error of a local image, if it has one."""
    if not os.path.exists(path):
        return None if '://' in path else 'no longer exists'
    if not os.path.getsize(path):
        return 'is empty (0 bytes)'
    try:
        image = mmcv.imread(path)
    except (OSError, cv2.error):
        image = None
    if image is None:
        return 'cannot be decoded: damaged or not an image'
    if isinstance(error, cv2.error):
        return unprocessable(image.shape[:2], error)
    if isinstance(error, OSError):
        return f'cannot be read: {first_line(error)}'
    return None


def unprocessable(size: tuple[int, int], error: Exception) -> str:
    """Describe an image that was read but not transformed."""
    text = first_line(error)
    by = ''
    if isinstance(error, cv2.error):
        # OpenCV's reason, without the places in its sources.
        text = text.split('error: ')[-1].split(') ', 1)[-1] or text
        by = ' by OpenCV'
    return (f'of {size[1]}x{size[0]} pixels cannot be processed{by}: '
            f'{text}')
