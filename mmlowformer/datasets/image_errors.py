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
from .checks.masks import mask_error

# By mmcv's names.
LIBRARIES = dict(cv2=OPENCV, pillow=PILLOW)


def name_images_in_errors(dataset: Any) -> None:
    """Wrap the pipelines of a data set, and of those inside wrappers."""
    pipeline = getattr(dataset, 'pipeline', None)
    if callable(pipeline) and not isinstance(pipeline, ImageErrorPipeline):
        dataset.pipeline = ImageErrorPipeline(pipeline, _mask_check(dataset))
    for inner in getattr(dataset, 'datasets', None) or [
            getattr(dataset, 'dataset', None)]:
        if isinstance(inner, Dataset):
            name_images_in_errors(inner)


def _mask_check(dataset: Any) -> Callable | None:
    """What finds errors in masks of MMSegmentation's data sets."""
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if not (classes and hasattr(dataset, 'reduce_zero_label')):
        return None
    return partial(mask_error, count=len(classes),
                   shift=int(bool(dataset.reduce_zero_label)))


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
    """A pipeline whose errors name the image; refuses masks by their values.

    The checks at the start read a part of the masks only.
    """

    def __init__(self, pipeline: Callable,
                 mask_check: Callable | None = None):
        self.pipeline, self.mask_check = pipeline, mask_check
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
        mask = record.get('seg_map_path') if self.mask_check else None
        try:
            result = self.pipeline(record)
            if mask and self.mask_check and isinstance(result, dict):
                _check_mask(mask, result.get('data_samples', ()),
                            self.mask_check)
            return result
        except UserError:
            raise
        except Exception as error:
            # The cause may be the mask, too.
            for find in _damage, _failure:
                for path in paths:
                    problem = find(path, error)
                    if problem:
                        raise UserError(f'image {path} {problem}') from error
            raise


def _check_mask(path: str, sample: Any, find_error: Callable) -> None:
    """Refuse a mask by the values in a sample."""
    if 'gt_sem_seg' in sample:
        mask = sample.gt_sem_seg.data[0].numpy()
        error = find_error(mask, mask.shape)
        if error:
            raise UserError(f'mask {path} {": ".join(error)}')


def _paths_of(record: object) -> Iterator[str]:
    """Paths of an image and its mask, or of the frames of a video."""
    if not isinstance(record, dict):
        return
    given = record.get('img_path')
    paths = given if isinstance(given, list) else [given]
    frames = [frame.get('img_path') for frame in record.get('images') or ()
              if isinstance(frame, dict)]
    masks = [record.get('seg_map_path')]
    yield from (path for path in [*paths, *masks, *frames]
                if isinstance(path, str))


def _damage(path: str, _: Exception) -> str | None:
    """Describe what is wrong with a local image, if anything."""
    if not os.path.exists(path):
        return None if '://' in path else 'no longer exists'
    if not os.path.getsize(path):
        return 'is empty (0 bytes)'
    if _read(path) is None:
        return 'cannot be decoded: damaged or not an image'
    return None


def _failure(path: str, error: Exception) -> str | None:
    """Describe why an image was not read or transformed, if it is clear."""
    if isinstance(error, cv2.error):
        image = _read(path)
        return None if image is None else unprocessable(
            image.shape[:2], error)
    if isinstance(error, OSError) and os.path.exists(path):
        return f'cannot be read: {first_line(error)}'
    return None


def _read(path: str) -> np.ndarray | None:
    try:
        return mmcv.imread(path)
    except (OSError, cv2.error):
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
