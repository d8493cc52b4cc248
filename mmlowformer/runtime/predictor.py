"""Predict images with an exported model."""
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from ..errors import UserError
from ..utils.images import read
from .model_spec import Description, read_description
from .postprocess import postprocess
from .preprocess import PreprocessedImage, prepare
from .results import Detections, Result
from .sessions import DEFAULT, Session, open_session

if TYPE_CHECKING:
    from ..utils.images import Source


class ExportedPredictor:
    """Predicts boxes, masks or labels of images like the checkpoint.

    It needs neither torch nor a library of OpenMMLab.

    Args:
        folder (str | Path): What ``tools/export.py`` wrote for a format.
        threads (int, optional): Defaults to the runtime's choice.
        precision (str): ``float32``, or ``default`` for what the runtime
            takes by itself, which may be less. Defaults to ``float32``.
        score_thr (float): The least score of a box. Defaults to 0: all that
            the model gives.
        trust (bool): Whether a file may run code on being opened, as ``pt2``
            may. Defaults to False.

    Attributes:
        description (Description): What is known about the model.
        classes (list[str]): Names of the classes, by label.

    Raises:
        UserError: If a file or the runtime is missing, something is not what
            was exported, or it is not trusted.

    Example:
        >>> from mmlowformer.runtime import ExportedPredictor
        >>> predictor = ExportedPredictor('epoch_12-export/onnx')
        >>> result = predictor('photo.jpg')
        >>> result.names, result.boxes, result.scores
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None,
                 precision: str = 'float32', score_thr: float = 0.,
                 trust: bool = False):
        if precision not in ('float32', DEFAULT):
            raise UserError(f'precision {precision!r} has to be float32 or '
                            f'{DEFAULT}')
        self.description = read_description(folder)
        self.classes = self.description.classes
        self.score_thr = score_thr
        self.session = open_session(folder, self.description, threads,
                                    precision, trust)

    @overload
    def __call__(self, images: 'Source') -> Result: ...

    @overload
    def __call__(self, images: 'list[Source]') -> list[Result]: ...

    def __call__(self, images):
        """Predict an image, or several, one after the other.

        Args:
            images (Source | list[Source]): A path, an array ``(h, w, 3)``
                in BGR as OpenCV reads it, a PIL image, or a list or an
                iterator of these.

        Returns:
            Result | list[Result]: One for each image.

        Raises:
            UserError: If an image cannot be read.
        """
        if isinstance(images, (list, tuple, Iterator)):
            return [self._one(image) for image in images]
        return self._one(images)

    def _one(self, source) -> Result:
        image = read(source, self.description.prepare[0]['library'])
        prepared = self.prepare(image, name := _name_of(source))
        started = time.perf_counter()
        outputs = compute(self.session,
                          tensor(self.description, prepared.image))
        seconds = time.perf_counter() - started
        result = postprocess(
            self.description,
            {name: value[0] for name, value in outputs.items()}, prepared)
        if isinstance(result, Detections):
            result = result.above(self.score_thr)
        return replace(
            result, name=name, image=np.ascontiguousarray(image[..., ::-1]),
            palette=[tuple(color) for color in self.description.palette],
            seconds=seconds)

    def prepare(self, source: 'Source', name: str = '') -> PreprocessedImage:
        """Read and resize an image, whose name is for errors."""
        first, *steps = self.description.prepare
        prepared = letterbox(self.description, read(source, first['library']),
                             steps)
        least = self.description.input['least_size']
        height, width = prepared.image.shape[:2]
        if min(height, width) < least:
            raise UserError(f'{name or _name_of(source) or "the image"} is '
                            f'too small: {width}x{height} pixels after '
                            f'resizing, at least {least} on each side are '
                            'needed')
        return prepared


def _name_of(source) -> str:
    return str(source) if isinstance(source, (str, Path)) else ''


def letterbox(description: Description, image: np.ndarray,
              steps: list[dict]) -> PreprocessedImage:
    """Resize an image by steps, and pad it as a model needs it."""
    # The color that the model's own padding stands for.
    color = [center + description.padding['value'] * width
             for center, width in zip(description.input['mean'],
                                      description.input['std'])]
    if description.input['channel_order'] == 'RGB':
        color.reverse()
    return prepare(image, steps, description.size, color,
                   description.multiple)


def tensor(description: Description, *images: np.ndarray) -> np.ndarray:
    """Images in BGR as the input of the network."""
    batch = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)
    return np.ascontiguousarray(batch[:, ::-1] if description.input[
        'channel_order'] == 'RGB' else batch)


def compute(session: Session, images: np.ndarray) -> dict[str, np.ndarray]:
    """Compute any number of images, whatever the network takes at a time."""
    size = session.description.batch or len(images)
    if len(images) == size:
        return session.run(images)
    parts = []
    for start in range(0, len(images), size):
        part = images[start:start + size]
        missing = size - len(part)
        outputs = session.run(np.concatenate((part, *[part[-1:]] * missing)))
        parts.append({name: value[:len(part)]
                      for name, value in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts])
            for name in parts[0]}
