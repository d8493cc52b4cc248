"""Images on their way into a model, through the host's own transforms."""
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
from mmcv.transforms import Compose
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image

from ..config.loading import kind_of
from ..datasets.image_errors import (
    LIBRARIES,
    ImageErrorPipeline,
    unprocessable,
)
from ..errors import UserError, first_line
from ..utils.images import decode, from_pillow

# A path, what is in a file, an array ``(h, w, 3)`` in BGR as OpenCV has it (or
# ``(h, w)``, grey), or a PIL image.
Source = (str | Path | bytes | bytearray | memoryview | np.ndarray
          | Image.Image)
CONTENT = (bytes, bytearray, memoryview)
# What transforms make of images of a few pixels, or of far too many.
TOO_ODD = (cv2.error, ArithmeticError, MemoryError, ValueError)
# What decoders make of damaged files.
DAMAGED = (OSError, SyntaxError, Image.DecompressionBombError, *TOO_ODD)


class Prepared(NamedTuple):
    """An image that can be predicted.

    Attributes:
        name (str): Its path, or what it is called else.
        image (np.ndarray): ``(h, w, 3)``, RGB, uint8, in its own size.
        data (dict): ``inputs`` and ``data_samples`` for the model.
    """

    name: str
    image: np.ndarray
    data: dict


class Pipeline:
    """The test pipeline of a config, for images without annotations."""

    def __init__(self, transforms: list[dict], scope: str):
        steps = [step for step in transforms
                 if not _reads_annotations(kind_of(step))]
        if not steps or not kind_of(steps[0]).startswith('LoadImage'):
            raise UserError('the test pipeline of the config does not begin '
                            'with LoadImageFromFile')
        self.scope = scope
        self._decoding = dict(flag=steps[0].get('color_type', 'color'),
                              backend=steps[0].get('imdecode_backend', 'cv2'))
        self._load = ImageErrorPipeline(self._built(steps[:1]))
        self._prepare = self._built(steps[1:])

    def _built(self, steps: list[dict]) -> Callable:
        try:
            with DefaultScope.overwrite_default_scope(self.scope):
                return Compose([TRANSFORMS.build(dict(step))
                                for step in steps])
        # Whatever a transform makes of the arguments of a stranger's file.
        except Exception as error:
            raise UserError('the test pipeline of the config cannot be built: '
                            f'{first_line(error)}') from error

    def __call__(self, source: Source, name: str = '') -> Prepared:
        """Read and prepare an image."""
        return self.prepare(self.read(source, name))

    def read(self, source: Source, name: str = '') -> dict:
        """Read an image."""
        if isinstance(source, CONTENT):
            source = bytes(source)
        elif isinstance(source, os.PathLike):
            source = Path(source)
        elif not hasattr(source, '__array__') and not isinstance(
                source, (str, Image.Image)):
            raise UserError(
                f'image {name or "without a name"} has to be a path, the '
                'bytes of a file, an array or one of Pillow, not '
                f'{type(source).__name__}')
        if isinstance(source, (str, Path)):
            name = name or str(source)
        if isinstance(source, (str, Path)):
            if os.path.exists(source) and not os.path.isfile(source):
                raise UserError(f'image {source} is no regular file')
            return dict(self._loaded(str(source)), name=name)
        if isinstance(source, bytes):
            image = self._decoded(source, name)
        else:
            image = _as_bgr(source, name)
        return dict(_record(name), img=image, img_shape=image.shape[:2],
                    ori_shape=image.shape[:2], name=name)

    def _loaded(self, path: str) -> dict:
        try:
            record = self._load(_record(path))
        except Image.DecompressionBombError as error:
            raise UserError(f'image {path} is too large: {first_line(error)}'
                            ) from error
        if record is None:
            raise UserError(f'image {path} cannot be read')
        return record

    def _decoded(self, content: bytes, name: str) -> np.ndarray:
        name = name or 'of bytes'
        library = LIBRARIES.get(self._decoding['backend'])
        if library and self._decoding['flag'] == 'color':
            return decode(content, library, f'image {name}')
        try:
            image = mmcv.imfrombytes(content, **self._decoding)
        except DAMAGED:
            image = None
        if image is None:
            raise UserError(f'image {name} cannot be decoded: '
                            'damaged or not an image')
        return image

    def prepare(self, record: dict) -> Prepared:
        """Transform an image."""
        image = record['img'][..., ::-1]
        name = record.pop('name')
        try:
            data = self._prepare(record)
        except TOO_ODD as error:
            raise UserError(f'image {name} '
                            + unprocessable(image.shape[:2], error)
                            ) from error
        return Prepared(name, np.ascontiguousarray(image, np.uint8), data)


def _reads_annotations(kind: str) -> bool:
    return kind.startswith('Load') and not kind.startswith('LoadImage')


def _record(path: str) -> dict:
    # What data sets give beside it; some transforms insist on having it.
    return dict(img_path=path, img_id=0, sample_idx=0, instances=[],
                seg_fields=[])


def _as_bgr(source: np.ndarray | Image.Image, name: str) -> np.ndarray:
    if isinstance(source, Image.Image):
        source = from_pillow(source, f'image {name or "of Pillow"}')
    image = np.asarray(source)
    if image.ndim == 2:
        image = image[..., None].repeat(3, 2)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size \
            or image.dtype != np.uint8:
        raise UserError(
            f'image {name or "array"} has the shape {image.shape} and the '
            f'type {image.dtype}; needed is (height, width, 3) in BGR, uint8')
    return np.ascontiguousarray(image)
