"""Images that cannot be read are named, whoever reads them."""
import os
from collections.abc import Callable, Iterator

import cv2
import mmcv
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from ..errors import UserError, first_line


class NameImages(Hook):
    """Lets the error of an image that cannot be read or resized name it."""

    def before_train(self, runner: Runner) -> None:
        """See :meth:`before_test`.

        Args:
            runner (Runner): The runner.
        """
        name_images(runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        """See :meth:`before_test`.

        Args:
            runner (Runner): The runner.
        """
        name_images(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Watch over a data set, before its loader's workers copy it.

        Args:
            runner (Runner): The runner.
        """
        name_images(runner.test_dataloader.dataset)


def name_images(dataset: Dataset) -> None:
    """Let a data set say which image is broken.

    Args:
        dataset (Dataset): The data set, or a wrapper of some. Those without
            a pipeline are left alone.
    """
    for leaf in _leaves(dataset):
        pipeline = getattr(leaf, 'pipeline', None)
        if callable(pipeline) and not isinstance(pipeline, NamingPipeline):
            leaf.pipeline = NamingPipeline(pipeline)


def _leaves(dataset: Dataset) -> Iterator[BaseDataset]:
    inner = getattr(dataset, 'datasets', None) or [
        getattr(dataset, 'dataset', None)]
    yield dataset
    for item in inner:
        if isinstance(item, Dataset):
            yield from _leaves(item)


class NamingPipeline:
    """A data set's pipeline.

    Args:
        pipeline (Callable): What it does with an image's record.
    """

    def __init__(self, pipeline: Callable):
        self.pipeline = pipeline

    def __getattr__(self, name: str):
        # Not while it is unpickled in a worker.
        if name == 'pipeline':
            raise AttributeError(name)
        return getattr(self.pipeline, name)

    def __call__(self, record: dict) -> dict | None:
        """Run the pipeline.

        Args:
            record (dict): What is known about the image, or the video.

        Returns:
            dict | None: What the pipeline makes of it.

        Raises:
            UserError: If it fails, and the image is the reason.
        """
        paths = list(_paths_of(record))
        try:
            return self.pipeline(record)
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
    """What is wrong with an image that was read but not transformed.

    Args:
        size (tuple[int, int]): Its height and width.
        error (Exception): Of the transform.

    Returns:
        str: The rest of a sentence that begins with the image.
    """
    what = f'of {size[1]}x{size[0]} pixels cannot be processed'
    if isinstance(error, cv2.error):
        return f'{what} by OpenCV: {_reason(error)}'
    return f'{what}: {first_line(error)}'


def _reason(error: cv2.error) -> str:
    """OpenCV's reason, without the places in its sources."""
    text = first_line(error)
    return text.split('error: ')[-1].split(') ', 1)[-1] or text
