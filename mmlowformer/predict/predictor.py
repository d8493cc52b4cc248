"""A trained model that takes photos."""
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

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
from .gallery import is_retriever, set_gallery
from .pipeline import CONTENT, Pipeline, Prepared, Source
from .results import Result, result_of
from .stage_timing import time_stages
from .tile_merging import Tiling
from .trained_model import load_model

Item = TypeVar('Item')
# The least score of a box, as MMDetection's pictures have it.
SCORE = 0.3


class Answer(NamedTuple):
    """What came of one of several images.

    Attributes:
        position (int): Which one it was, counted from 0.
        result (Result, optional): What was found; None if it failed.
        error (UserError, optional): Why it failed; the message names it.
    """

    position: int
    result: Result | None = None
    error: UserError | None = None


class Predictor:
    """Finds boxes, masks or labels in images, as ``tools/test.py`` does.

    Images go through the test pipeline of the config and through the host's
    model. May be used by several threads at once, copied, and pickled.

    Args:
        checkpoint (str | Path): The file, or a URL. Reading it runs no code.
            Or the folder of an exported model.
        config (str | Path, optional): A config, or the name of one that comes
            with mmlowformer. Defaults to that in the checkpoint, where
            trainings leave it.
        device (str, optional): Where to compute. Defaults to a GPU if there
            is one.
        score_thr (float, optional): The least score of a box. Defaults to
            that of the config's pictures, or 0.3. Metrics want 0.
        batch_size (int): Images, or tiles, in a call of the model. Only
            images of one size share a call, so no image's result depends on
            the others. Defaults to 1.
        deploy (bool | dict, optional): Whether to rewrite the model for
            inference, see :func:`mmlowformer.deploy`; a dict may have
            ``compile`` (bool) and ``dtype`` (``'fp32'``, ``'bf16'`` or
            ``'fp16'``). Defaults to no.
        tile (int, optional): Side of the square tiles that large images are
            cut into, in pixels. Defaults to whole images.
        overlap (float): Share of a tile that lies in its neighbour, too.
            Defaults to 0.25.
        gallery (str | Path, optional): For a retriever: the folder of the
            images among which it looks for similar ones.
        trust_config (bool): Whether the config in the checkpoint may build
            anything, and so run code; else it may build what is listed in
            ``mmlowformer/checkpoint/allowed_types.py``. Defaults to False.

    Attributes:
        classes (list[str]): Names of the classes, by label.
        palette (list[tuple]): Their colours, RGB.
        score_thr (float): The least score of a box.
        batch_size (int): Images in a call.
        pipeline (Pipeline): What images go through before the model.
        tracker (dict, optional): Of a checkpoint of many objects' tracker,
            what tells them apart in a video.

    Raises:
        UserError: If checkpoint or config are missing or do not fit.

    Example:
        >>> from mmlowformer import Predictor
        >>> predictor = Predictor('epoch_12.pth')
        >>> result = predictor('photo.jpg')
        >>> result.names, result.boxes, result.scores
        >>> result.draw().save('found.png')
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
        usual = 'cpu' if is_exported(checkpoint) else get_device()
        model = load_model(checkpoint, config, device=device or usual,
                           deploy=deploy, trust_config=trust_config)
        if is_tracker(model.cfg):
            raise UserError(
                f'{checkpoint} is of a tracker: say what to follow, with '
                'tools/predict.py --box x,y,w,h in the first frame of a video')
        self.classes, self.palette = model.classes, model.palette
        self.tracker = model.tracker
        self.score_thr = next(
            value for value in (score_thr, model.score_thr, SCORE)
            if value is not None)
        self.batch_size = batch_size
        self._model, self._scope = model.module, model.scope
        self.pipeline = Pipeline(model.pipeline, model.scope)
        self._gallery = (
            set_gallery(model.module, gallery, model.pipeline, model.scope)
            if is_retriever(model.module) else None)
        self._tiling = Tiling(tile, overlap) if tile else None
        self._lock = threading.Lock()

    @property
    def module(self) -> torch.nn.Module:
        """The host's model."""
        return self._model

    def __call__(self, images: Source | Iterable[Source]
                 ) -> Result | list[Result]:
        """Predict an image, or several.

        Args:
            images (Source | Iterable[Source]): A path, a PIL image, the bytes
                of a file, an array ``(h, w, 3)`` in BGR as OpenCV reads it,
                or a list or a generator of these.

        Returns:
            Result | list[Result]: One for each image, in their order.

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

    def __copy__(self) -> 'Predictor':
        """Another one with the same model, which they use in turn."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __getstate__(self) -> dict:
        return {key: value for key, value in vars(self).items()
                if key != '_lock'}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def time_stages(self, images: Sequence[Source]) -> dict[str, float]:
        """Time reading, preparing, the network, and the rest.

        Args:
            images (Sequence[Source]): The images, at most 16 of which are
                predicted, one after the other.

        Returns:
            dict[str, float]: Medians in seconds, see
            :func:`mmlowformer.predict.stage_timing.time_stages`.
        """
        with DefaultScope.overwrite_default_scope(self._scope):
            return time_stages(self.pipeline, self._model, self._run, images)

    def _all(self, images: Iterable[Source]) -> list[Result]:
        results = {}
        for answer in self.stream(images):
            if answer.result is None:
                raise answer.error or UserError('nothing was predicted')
            results[answer.position] = answer.result
        return [results[position] for position in sorted(results)]

    def stream(self, images: Iterable[Source], names: Iterable[str] = ()
               ) -> Iterator[Answer]:
        """Predict any number of images, reading some ahead meanwhile.

        Args:
            images (Iterable[Source]): As for a call.
            names (Iterable[str]): What to call them. Defaults to their paths.

        Yields:
            Answer: For each image, also for those that cannot be read. Those
            of one size come in order.
        """
        names = iter(names)
        tasks = ((index, image, next(names, '')) for index, image in
                 enumerate(images))
        with _readers() as pool:
            if self._tiling:
                yield from self._predict_tiled(pool, tasks, self._tiling)
            else:
                yield from self._predict_whole(pool, tasks)

    def _predict_whole(self, pool: ThreadPoolExecutor, tasks: Iterator
                       ) -> Iterator[Answer]:
        read = _ahead(pool, self.pipeline, tasks,
                      self.batch_size + _workers())
        for batch in _of_one_size(read, self.batch_size):
            if isinstance(batch, Answer):
                yield batch
            else:
                yield from self._answers(batch)

    def _answers(self, batch: list[tuple[int, Prepared]]) -> Iterator[Answer]:
        try:
            samples, seconds = self._run([image.data for _, image in batch])
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                yield Answer(batch[0][0], error=UserError(
                    f'image {batch[0][1].name} does not fit into the memory '
                    f'of the device ({error}); --tile cuts it into parts'))
                return
            for item in batch:
                yield from self._answers([item])
            return
        for (index, image), sample in zip(batch, samples):
            yield Answer(index, self._result(image, sample, seconds))

    def _predict_tiled(self, pool: ThreadPoolExecutor, tasks: Iterator,
                       tiling: Tiling) -> Iterator[Answer]:
        for index, record in _ahead(pool, self.pipeline.read, tasks, 1):
            if isinstance(record, UserError):
                yield Answer(index, error=record)
                continue
            try:
                yield Answer(index, self._tiled(pool, record, tiling))
            except UserError as error:
                yield Answer(index, error=error)

    def _tiled(self, pool: ThreadPoolExecutor, record: dict, tiling: Tiling
               ) -> Result:
        image, name, seconds = record['img'], record['name'], 0.
        merger = tiling.merger(image.shape[:2])
        cut = ((index, tile.cut(image), name)
               for index, tile in enumerate(merger.tiles))
        # Of one size, as all tiles of an image are.
        parts = zip(merger.tiles, map(_or_raise, _ahead(
            pool, self.pipeline, cut, self.batch_size + 1)))
        while batch := list(islice(parts, self.batch_size)):
            samples, share = self._run([part.data for _, part in batch])
            seconds += share * len(batch)
            for (tile, _), sample in zip(batch, samples):
                merger.add(tile, sample)
        whole = Prepared(name, np.ascontiguousarray(image[..., ::-1]), {})
        return self._result(whole, merger.merged(), seconds)

    def _run(self, data: list[dict]) -> tuple[list[BaseDataElement], float]:
        """Data samples, and the seconds that each took."""
        with self._lock, torch.no_grad(), \
                DefaultScope.overwrite_default_scope(self._scope):
            start = time.perf_counter()
            samples = self._predicted(pseudo_collate(data))
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            return samples, (time.perf_counter() - start) / len(data)

    def _predicted(self, batch: dict) -> list[BaseDataElement]:
        try:
            return self._model.test_step(batch)
        except torch.OutOfMemoryError:
            raise  # Smaller batches may do.
        except (ArithmeticError, AssertionError, LookupError, RuntimeError,
                TypeError, ValueError) as error:
            raise UserError(
                'the model cannot predict, its config may be wrong: '
                f'{type(error).__name__}: {first_line(error)} (--debug shows '
                'the traceback)') from error

    def _result(self, image: Prepared, sample: BaseDataElement,
                seconds: float) -> Result:
        return result_of(
            sample, self.score_thr, self._gallery, name=image.name,
            image=image.image, classes=self.classes, palette=self.palette,
            seconds=seconds)


def _workers() -> int:
    return min(4, os.cpu_count() or 1)


def _readers() -> ThreadPoolExecutor:
    """Threads that read images, of one thread each.

    OpenMP would start more for each of them, and as soon as there are more
    than processors, those that compute no longer wait for each other at once.
    """
    threads, workers = torch.get_num_threads(), _workers()
    all_there = threading.Barrier(workers)
    pool = ThreadPoolExecutor(workers)
    for future in [pool.submit(_use_one_thread, all_there)
                   for _ in range(workers)]:
        future.result()
    # torch also keeps the number for threads that are still to come.
    torch.set_num_threads(threads)
    return pool


def _use_one_thread(all_there: threading.Barrier) -> None:
    torch.set_num_threads(1)
    all_there.wait()


def _ahead(pool: ThreadPoolExecutor, read: Callable[..., Item],
           tasks: Iterator, count: int
           ) -> Iterator[tuple[int, Item | UserError]]:
    """What is read of each image, or the error; so many are read ahead."""
    def submit(task: tuple) -> tuple[int, Future]:
        index, *arguments = task
        return index, pool.submit(read, *arguments)

    waiting = deque(map(submit, islice(tasks, count)))
    while waiting:
        index, future = waiting.popleft()
        item: Item | UserError
        try:
            item = future.result()
        except UserError as error:
            item = error
        waiting.extend(map(submit, islice(tasks, 1)))
        yield index, item


def _or_raise(read: tuple[int, Item | UserError]) -> Item:
    _, item = read
    if isinstance(item, UserError):
        raise item
    return item


def _of_one_size(read: Iterator, batch_size: int) -> Iterator[list | Answer]:
    """Batches of images whose tensors are of one size, and failures."""
    waiting = defaultdict(list)
    for index, image in read:
        if isinstance(image, UserError):
            yield Answer(index, error=image)
            continue
        shape = image.data['inputs'].shape
        waiting[shape].append((index, image))
        if len(waiting[shape]) == batch_size:
            yield waiting.pop(shape)
        elif sum(map(len, waiting.values())) > 3 * batch_size:
            # Of rare sizes no batch would ever be full.
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()
