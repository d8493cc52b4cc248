"""Images are read alike, and named if they cannot be, whoever reads them."""
import os
from collections.abc import Callable, Iterator

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, Compose, LoadImageFromFile
from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmengine.dataset import Compose as MMEngineCompose
from torch.utils.data import Dataset

from ..errors import UserError, first_line
from ..utils.images import OPENCV, PILLOW, decode

# What mmcv calls them.
LIBRARIES = dict(cv2=OPENCV, pillow=PILLOW)


def name_images_in_errors(dataset: Dataset) -> None:
    """Let a data set say which image is broken."""
    for leaf in _leaves(dataset):
        pipeline = getattr(leaf, 'pipeline', None)
        if callable(pipeline) and not isinstance(pipeline, ImageErrorPipeline):
            leaf.pipeline = ImageErrorPipeline(pipeline)


def _leaves(dataset: Dataset) -> Iterator[BaseDataset]:
    inner = getattr(dataset, 'datasets', None) or [
        getattr(dataset, 'dataset', None)]
    yield dataset
    for item in inner:
        if isinstance(item, Dataset):
            yield from _leaves(item)


class LoadCheckedImage(LoadImageFromFile):
    """Reads images as all of mmlowformer does, see ``runtime.images``."""

    def transform(self, results: dict) -> dict | None:
        """Read an image."""
        path = results['img_path']
        try:
            image = decode(
                fileio.get(path, backend_args=self.backend_args),
                LIBRARIES[self.imdecode_backend], f'image {path}')
        except Exception:
            if self.ignore_empty:
                return None
            raise
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


def use_checked_loader(step: object) -> None:
    """Let the loaders of a pipeline read 16 bits, and refuse what is odd."""
    if isinstance(step, LoadImageFromFile):
        # Subclasses read in ways of their own.
        if (type(step) is LoadImageFromFile and step.color_type == 'color'
                and step.imdecode_backend in LIBRARIES
                and step.file_client_args is None):
            step.__class__ = LoadCheckedImage
    elif isinstance(step, dict):
        use_checked_loader(list(step.values()))
    elif isinstance(step, (list, tuple)):
        for part in step:
            use_checked_loader(part)
    elif isinstance(step, (BaseTransform, Compose, MMEngineCompose)):
        use_checked_loader(vars(step))


class ImageErrorPipeline:
    """A data set's pipeline."""

    def __init__(self, pipeline: Callable):
        self.pipeline = pipeline
        use_checked_loader(pipeline)

    def __getattr__(self, name: str):
        # Not while it is unpickled in a worker.
        if name == 'pipeline':
            raise AttributeError(name)
        return getattr(self.pipeline, name)

    def __call__(self, record: dict) -> dict | None:
        """Run the pipeline."""
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
    """Of an image, or of several frames of a video."""
    if not isinstance(record, dict):
        return
    given = record.get('img_path')
    paths = given if isinstance(given, list) else [given]
    frames = [frame.get('img_path') for frame in record.get('images') or ()
              if isinstance(frame, dict)]
    yield from (path for path in [*paths, *frames] if isinstance(path, str))


def _problem(path: str, error: Exception) -> str | None:
    """What is wrong with an image of this machine, if anything is."""
    if not os.path.exists(path):
        return None if '://' in path else 'is not there any more'
    if not os.path.getsize(path):
        return 'is empty (0 bytes)'
    try:
        image = mmcv.imread(path)
    except (OSError, cv2.error):
        image = None
    if image is None:
        return 'cannot be decoded: it is damaged or no image'
    if isinstance(error, cv2.error):
        return unprocessable(image.shape[:2], error)
    if isinstance(error, OSError):
        return f'cannot be read: {first_line(error)}'
    return None


def unprocessable(size: tuple[int, int], error: Exception) -> str:
    """What is wrong with an image that was read but not transformed."""
    what = f'of {size[1]}x{size[0]} pixels cannot be processed'
    if isinstance(error, cv2.error):
        return f'{what} by OpenCV: {_reason(error)}'
    return f'{what}: {first_line(error)}'


def _reason(error: cv2.error) -> str:
    """OpenCV's reason, without the places in its sources."""
    text = first_line(error)
    return text.split('error: ')[-1].split(') ', 1)[-1] or text
