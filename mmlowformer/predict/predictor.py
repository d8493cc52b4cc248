"""Predict images with a trained model."""
from __future__ import annotations

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement
from PIL import Image

from ..config.model_kind import is_tracker
from ..errors import UserError, first_line
from ..runtime.model_spec import is_exported
from ..runtime.results import Result
from ..utils.images import CONTENT, Source
from ..utils.tiles import check_tiling, tiles_of
from .gallery import is_retriever, set_gallery
from .pipeline import Pipeline, PreparedImage
from .results import result_of
from .stage_timing import time_stages
from .tile_merging import TileMerger
from .trained_model import load_model

# MMDetection's threshold of drawn boxes.
SCORE = 0.3
# Threads that read images.
WORKERS = min(4, os.cpu_count() or 1)


class StreamItem(NamedTuple):
    """The result of one of several images, or its error."""

    position: int  # of the image, from 0
    result: Result | None = None
    error: UserError | None = None  # names the image

    def get(self) -> Result:
        """Return the result, or raise the error."""
        if self.result is None:
            raise self.error or UserError('nothing was predicted')
        return self.result


class Predictor:
    """Predicts boxes, masks or labels of images, like ``tools/test.py``.

    Images pass through the config's test pipeline and the library's model.
    Several threads may use a predictor; it can be copied and pickled.

    Args:
        checkpoint (str | Path): A file, a URL, or the folder of an exported
            model. Reading it runs no code.
        config (str | Path, optional): A config file, or the name of one of
            mmlowformer's. Defaults to the config in the checkpoint.
        device (str, optional): ``cpu``, ``cuda``, ``cuda:1`` and so on.
            Defaults to a GPU if one exists.
        score_thr (float, optional): Score threshold of boxes. Defaults to
            the config's for pictures, or 0.3. Use 0 for metrics.
        batch_size (int): Images, or tiles, in a call of the model. Only
            images of one size share a call, so no result depends on the other
            images. Defaults to 1.
        deploy (bool | dict, optional): Whether to rewrite the model for
            inference, see :func:`mmlowformer.deploy`; a dict may contain
            ``compile`` (bool) and ``dtype`` (``'fp32'``, ``'bf16'`` or
            ``'fp16'``). Defaults to False.
        tile (int, optional): Side of the square tiles of large images, in
            pixels. Defaults to whole images.
        overlap (float): Overlap of neighboring tiles, as a fraction of the
            tile. Defaults to 0.25.
        gallery (str | Path, optional): Folder of the images that a retriever
            searches.
        trust_config (bool): Whether the config in the checkpoint may build
            anything, and so run code, instead of only the types listed in
            ``mmlowformer/checkpoint/allowed_types.py``. Defaults to False.

    Attributes:
        module (nn.Module): The library's model.
        classes (list[str]): Names of the classes.
        palette (list[tuple]): Colors of the classes, RGB.
        score_thr (float): Score threshold of boxes.
        batch_size (int): Images in a call of the model.
        pipeline (Pipeline): The transforms before the model.
        tracker (dict, optional): The tracker's config, for a checkpoint of a
            multi-object tracker.

    Raises:
        UserError: If the checkpoint or its config is missing or does not fit.

    Example:
        >>> from mmlowformer import Predictor
        >>> predictor = Predictor('epoch_12.pth')
        >>> result = predictor('photo.jpg')
        >>> result.names, result.boxes, result.scores
        >>> result.draw().save('prediction.png')
    """

    def __init__(self, checkpoint: str | Path,
                 config: str | Path | None = None, *,
                 device: str | None = None, score_thr: float | None = None,
                 batch_size: int = 1, deploy: bool | dict | None = None,
                 tile: int | None = None, overlap: float = 0.25,
                 gallery: str | Path | None = None,
                 trust_config: bool = False):
        if batch_size < 1:
            raise UserError(f'batch_size {batch_size} has to be at least 1')
        if tile is not None:
            check_tiling(tile, overlap)
        usual = 'cpu' if is_exported(checkpoint) else get_device()
        model = load_model(checkpoint, config, device=device or usual,
                           deploy=deploy, trust_config=trust_config)
        if is_tracker(model.cfg):
            raise UserError(
                f'{checkpoint} is of a tracker: use tools/predict.py with '
                '--box x,y,w,h, the object in the first frame of a video')
        self.classes, self.palette = model.classes, model.palette
        self.tracker = model.tracker
        self.score_thr = next(
            value for value in (score_thr, model.score_thr, SCORE)
            if value is not None)
        self.batch_size = batch_size
        self.module, self._scope = model.module, model.scope
        self.pipeline = Pipeline(model.pipeline, model.scope)
        self._gallery = (
            set_gallery(model.module, gallery, model.pipeline, model.scope)
            if is_retriever(model.module) else None)
        self._tile, self._overlap = tile or 0, overlap
        self._lock = threading.Lock()

    def __call__(self, images: Source | Iterable[Source]
                 ) -> Result | list[Result]:
        """Predict one image, or several.

        Args:
            images (Source | Iterable[Source]): A path, a PIL image, the bytes
                of a file, an array ``(h, w, 3)`` in BGR as OpenCV reads it,
                or an iterable of these.

        Returns:
            Result | list[Result]: One result, or a list in the images' order.

        Raises:
            UserError: If an image cannot be read; the message names it.
        """
        if isinstance(images, (str, os.PathLike, *CONTENT, np.ndarray,
                               Image.Image)):
            return self._all([images])[0]
        if not isinstance(images, Iterable) or hasattr(images, 'read'):
            raise UserError('an image has to be a path, the bytes of a file, '
                            'an array or one of Pillow, not '
                            f'{type(images).__name__}')
        return self._all(images)

    def __copy__(self) -> Predictor:
        """Share the model and its lock."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __getstate__(self) -> dict:
        return {key: value for key, value in vars(self).items()
                if key != '_lock'}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def profile(self, images: Sequence[Source]) -> dict[str, float]:
        """Return the median seconds of each stage from file to result."""
        with DefaultScope.overwrite_default_scope(self._scope):
            return time_stages(self.pipeline, self.module, self._run, images)

    def _all(self, images: Iterable[Source]) -> list[Result]:
        results = {item.position: item.get() for item in self.stream(images)}
        return [results[position] for position in sorted(results)]

    def stream(self, images: Iterable[Source], names: Iterable[str] = ()
               ) -> Iterator[StreamItem]:
        """Predict any number of images while reading the next ones.

        Args:
            images (Iterable[Source]): As in a call.
            names (Iterable[str]): Their names. Defaults to their paths.

        Yields:
            StreamItem: One for each image, also for unreadable ones. Images
            of one size come in order.
        """
        names = iter(names)
        tasks = ((index, image, next(names, '')) for index, image in
                 enumerate(images))
        with _readers() as pool:
            yield from (self._predict_tiled if self._tile else
                        self._predict_whole)(pool, tasks)

    def _predict_whole(self, pool: ThreadPoolExecutor, tasks: Iterator
                       ) -> Iterator[StreamItem]:
        images = _read_ahead(pool, self.pipeline, tasks,
                             self.batch_size + WORKERS)
        for batch in _batches_by_size(images, self.batch_size):
            if isinstance(batch, StreamItem):
                yield batch
            else:
                yield from self._predict_batch(batch)

    def _predict_batch(self, batch: list[tuple[int, PreparedImage]]
                       ) -> Iterator[StreamItem]:
        try:
            samples, seconds = self._run([image.data for _, image in batch])
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                yield StreamItem(batch[0][0], error=UserError(
                    f'image {batch[0][1].name} does not fit into the memory '
                    f'of the device ({error}): cut it with --tile-size'))
                return
            for item in batch:
                yield from self._predict_batch([item])
            return
        for (index, image), sample in zip(batch, samples):
            yield StreamItem(index, self._result(image, sample, seconds))

    def _predict_tiled(self, pool: ThreadPoolExecutor, tasks: Iterator
                       ) -> Iterator[StreamItem]:
        for index, source, name in tasks:
            # The next image is not read yet: large ones fill the memory.
            try:
                yield StreamItem(index, self._predict_tiles(
                    pool, source, name))
            except UserError as error:
                yield StreamItem(index, error=error)

    def _predict_tiles(self, pool: ThreadPoolExecutor, source: Source,
                       name: str) -> Result:
        scene, seconds = self.pipeline.open_scene(source, name), 0.
        height, width = scene.image.shape[:2]
        tiles = tiles_of(height, width, self._tile, self._overlap)
        merger = TileMerger((height, width), tiles)
        tasks = ((index, scene, tile) for index, tile in enumerate(tiles))
        # All tiles of an image have one size.
        parts = zip(tiles, _read_ahead(pool, self.pipeline.tile, tasks,
                                       self.batch_size + 1))
        while batch := [(tile, future.result().data) for tile, (_, future)
                        in islice(parts, self.batch_size)]:
            samples, each = self._run([data for _, data in batch])
            seconds += each * len(batch)
            for (tile, _), sample in zip(batch, samples):
                merger.add(tile, sample)
        return self._result(scene, merger.merged(), seconds)

    def _run(self, data: list[dict]) -> tuple[list[BaseDataElement], float]:
        """Return data samples, and the seconds for each."""
        with self._lock, torch.no_grad(), \
                DefaultScope.overwrite_default_scope(self._scope):
            start = time.perf_counter()
            samples = self._predicted(pseudo_collate(data))
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            return samples, (time.perf_counter() - start) / len(data)

    def _predicted(self, batch: dict) -> list[BaseDataElement]:
        try:
            return self.module.test_step(batch)
        except torch.OutOfMemoryError:
            raise  # Smaller batches may fit.
        except (ArithmeticError, AssertionError, LookupError, RuntimeError,
                TypeError, ValueError) as error:
            raise UserError(
                'the model cannot predict, check its config: '
                f'{type(error).__name__}: {first_line(error)} (--debug shows '
                'the traceback)') from error

    def _result(self, image: PreparedImage, sample: BaseDataElement,
                seconds: float) -> Result:
        return result_of(
            sample, self.score_thr, self._gallery, name=image.name,
            image=image.image, classes=self.classes, palette=self.palette,
            seconds=seconds)


def _readers() -> ThreadPoolExecutor:
    """Threads that read images, each without further OpenMP threads."""
    # More threads than processors would delay each synchronization of those
    # that compute.
    threads = torch.get_num_threads()
    barrier = threading.Barrier(WORKERS)

    def use_one_thread() -> None:
        torch.set_num_threads(1)
        # No worker takes the task of another.
        barrier.wait()

    pool = ThreadPoolExecutor(WORKERS)
    for future in [pool.submit(use_one_thread) for _ in range(WORKERS)]:
        future.result()
    # torch uses the last number for new threads, too.
    torch.set_num_threads(threads)
    return pool


def _read_ahead(pool: ThreadPoolExecutor, read: Callable, tasks: Iterator,
                count: int) -> Iterator[tuple[int, Future]]:
    """Yield an index and a future for each image, in order."""
    def submit(task: tuple) -> tuple[int, Future]:
        index, *arguments = task
        return index, pool.submit(read, *arguments)

    waiting = deque(map(submit, islice(tasks, count)))
    while waiting:
        index, future = waiting.popleft()
        waiting.extend(map(submit, islice(tasks, 1)))
        yield index, future


def _batches_by_size(images: Iterator[tuple[int, Future]], batch_size: int
                     ) -> Iterator[list | StreamItem]:
    """Yield batches of images whose tensors have one size, and errors."""
    waiting = defaultdict(list)
    for index, future in images:
        try:
            image = future.result()
        except UserError as error:
            yield StreamItem(index, error=error)
            continue
        shape = image.data['inputs'].shape
        waiting[shape].append((index, image))
        if len(waiting[shape]) == batch_size:
            yield waiting.pop(shape)
        elif sum(map(len, waiting.values())) > 3 * batch_size:
            # A batch of a rare size would never be full.
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()
