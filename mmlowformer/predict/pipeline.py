"""Prepare images with the transforms of a config."""
import os
from typing import Any, NamedTuple

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
    LoadCheckedImage,
    unprocessable,
)
from ..errors import UserError, first_line
from ..utils.images import CONTENT, OPENCV, Source, read
from ..utils.tiles import Tile
from .tiff_windows import open_tiff

# Bytes whose channels change places at a time.
BLOCK = 2**24
# Errors of transforms for images of a few pixels, or of far too many.
ODD_SIZE_ERRORS = (cv2.error, ArithmeticError, MemoryError, ValueError)
# Errors of decoders for damaged files.
DAMAGE_ERRORS = (OSError, SyntaxError, Image.DecompressionBombError,
                 *ODD_SIZE_ERRORS)


class PreparedImage(NamedTuple):
    """An image (RGB, in its own size), and the model's data for it."""

    name: str
    image: Any  # np.ndarray, or TiffWindows of a scene
    data: dict


class Pipeline:
    """The test pipeline of a config, for images without annotations."""

    def __init__(self, transforms: list[dict], scope: str):
        steps = [step for step in transforms
                 if kind_of(step).startswith('LoadImage')
                 or not kind_of(step).startswith('Load')]  # annotations
        if not steps or not kind_of(steps[0]).startswith('LoadImage'):
            raise UserError('the test pipeline of the config does not begin '
                            'with LoadImageFromFile')
        self.scope = scope
        self._decoding = dict(flag=steps[0].get('color_type', 'color'),
                              backend=steps[0].get('imdecode_backend', 'cv2'))
        load = self._built(steps[:1])
        self._load = ImageErrorPipeline(load)
        self._is_usual = isinstance(load.transforms[0], LoadCheckedImage)
        self._prepare = self._built(steps[1:])

    def _built(self, steps: list[dict]) -> Compose:
        try:
            with DefaultScope.overwrite_default_scope(self.scope):
                return Compose([TRANSFORMS.build(dict(step))
                                for step in steps])
        # Transforms may raise anything for a stranger's arguments.
        except Exception as error:
            raise UserError('the test pipeline of the config cannot be built: '
                            f'{first_line(error)}') from error

    def __call__(self, source: Source, name: str = '') -> PreparedImage:
        """Read and prepare an image."""
        return self.prepare(self.read(source, name))

    def read(self, source: Source, name: str = '') -> dict:
        """Read an image."""
        if isinstance(source, (str, os.PathLike)):
            return dict(self._loaded(os.fspath(source)),
                        name=name or os.fspath(source))
        library = LIBRARIES.get(self._decoding['backend'])
        if self._decoding['flag'] != 'color' or not library:
            if isinstance(source, CONTENT):
                source = self._decoded(bytes(source), name)
            library = OPENCV
        image = read(source, library, name)
        return dict(_record(name), img=image, img_shape=image.shape[:2],
                    ori_shape=image.shape[:2], name=name)

    def open_scene(self, source: Source, name: str = '') -> PreparedImage:
        """Open an image for :meth:`tile`, of which memory has one copy."""
        if isinstance(source, (str, os.PathLike)) and self._is_usual:
            path = os.fspath(source)
            windows = open_tiff(path)
            if windows is not None:
                return PreparedImage(name or path, windows, {})
        record = self.read(source, name)
        image = read(record['img'], OPENCV, record['name'])
        if isinstance(source, np.ndarray):
            image = image.copy()  # The caller needs the other.
        for rows in np.array_split(image, max(1, image.size // BLOCK)):
            rows[:] = rows[..., ::-1]
        return PreparedImage(record['name'], image, {})

    def tile(self, scene: PreparedImage, tile: Tile) -> PreparedImage:
        """Prepare a part of an image."""
        return self(tile.cut(scene.image)[..., ::-1], scene.name)

    def _loaded(self, path: str) -> dict:
        if os.path.exists(path) and not os.path.isfile(path):
            raise UserError(f'image {path} is no regular file')
        try:
            record = self._load(_record(path))
        except Image.DecompressionBombError as error:
            raise UserError(f'image {path} is too large: {first_line(error)}'
                            ) from error
        except UserError:
            raise
        # Clients of storage raise errors of their own.
        except Exception as error:
            if '://' not in path:
                raise
            raise UserError(f'image {path} cannot be read: '
                            f'{first_line(error)}') from error
        if record is None:
            raise UserError(f'image {path} cannot be read')
        return record

    def _decoded(self, content: bytes, name: str) -> np.ndarray:
        try:
            image = mmcv.imfrombytes(content, **self._decoding)
        except DAMAGE_ERRORS:
            image = None
        if image is None:
            raise UserError(f'image {name or "of bytes"} cannot be decoded: '
                            'damaged or not an image')
        return image

    def prepare(self, record: dict) -> PreparedImage:
        """Transform an image."""
        image = record['img'][..., ::-1]
        name = record.pop('name')
        try:
            data = self._prepare(record)
        except ODD_SIZE_ERRORS as error:
            raise UserError(f'image {name} '
                            + unprocessable(image.shape[:2], error)
                            ) from error
        return PreparedImage(name, np.ascontiguousarray(image, np.uint8), data)


def _record(path: str) -> dict:
    # Some transforms need the other keys of data sets, too.
    return dict(img_path=path, img_id=0, sample_idx=0, instances=[],
                seg_fields=[])
