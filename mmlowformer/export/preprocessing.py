"""A library's test pipeline and data preprocessor, as data."""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.loading import kind_of
from ..errors import UserError
from ..utils.images import OPENCV, PILLOW

LIBRARIES = dict(cv2=OPENCV, pillow=PILLOW)
# Transforms that do not change the image.
WITHOUT_EFFECT = ('LoadAnnotations', 'PackInputs', 'PackDetInputs',
                  'PackSegInputs')


@dataclass(frozen=True)
class InputRule:
    """The operations of a data preprocessor."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    # RGB or BGR, of the normalized image.
    channel_order: str
    # Sides are padded to multiples of it, with a value after normalization.
    divisor: int
    value: float


def input_rule(preprocessor: nn.Module) -> InputRule:
    """Read the settings of a library's data preprocessor."""
    converts = any(getattr(preprocessor, name, False) for name in (
        '_channel_conversion', 'channel_conversion', 'to_rgb'))
    divisor = _divisor(preprocessor)
    value = getattr(preprocessor, 'pad_value',
                    getattr(preprocessor, 'pad_val', 0))
    mean, std = (
        tuple(getattr(preprocessor, name).flatten().tolist())
        if hasattr(preprocessor, name) else (default, ) * 3
        for name, default in (('mean', 0.), ('std', 1.)))
    return InputRule(mean, std, 'RGB' if converts else 'BGR', divisor,
                     float(value))


def _divisor(preprocessor: Any) -> int:
    # MMSegmentation's pads test images by test_cfg only; its fork (onedl)
    # inherits a pad_size_divisor that it does not use.
    if not hasattr(preprocessor, 'test_cfg'):
        return getattr(preprocessor, 'pad_size_divisor', None) or 1
    padded = preprocessor.test_cfg or {}
    if padded.get('size'):
        raise UserError('the data_preprocessor pads test images to a size '
                        '(test_cfg.size), which cannot be exported: use '
                        'size_divisor, and --size')
    return padded.get('size_divisor') or 1


class Preparation(nn.Module):
    """Normalizes and pads images ``(N, 3, H, W)`` from 0 to 255."""

    def __init__(self, rule: InputRule):
        super().__init__()
        self.divisor, self.value = rule.divisor, rule.value
        self.mean: Tensor
        self.std: Tensor
        for name in ('mean', 'std'):
            self.register_buffer(name, torch.tensor(
                getattr(rule, name)).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        images = (images - self.mean) / self.std
        height, width = images.shape[-2:]
        if self.divisor > 1:
            images = F.pad(images, (0, -width % self.divisor,
                                    0, -height % self.divisor),
                           value=self.value)
        return images


def prepare_steps(pipeline: Sequence[dict]) -> list[dict]:
    """The transforms of a test pipeline, for ``runtime.preprocess``."""
    steps = []
    for transform in pipeline:
        kind = kind_of(transform)
        if kind in WITHOUT_EFFECT:
            continue
        if kind not in CONVERTERS:
            raise UserError(
                f'the test pipeline has {kind}, which exports do not support; '
                f'supported are {", ".join(CONVERTERS)}')
        steps.append(CONVERTERS[kind](transform))
    if not steps or steps[0]['step'] != 'read':
        raise UserError('the test pipeline of the config has to begin with '
                        'LoadImageFromFile')
    return steps


def _read(transform: dict) -> dict:
    _require(transform, color_type='color', to_float32=False)
    return dict(step='read', library=LIBRARIES[
        transform.get('imdecode_backend', 'cv2')])


def _resize(transform: dict) -> dict:
    settings = dict(keep_ratio=bool(transform.get('keep_ratio', False)),
                    **_interpolation(transform))
    if transform.get('scale') is not None:
        width, height = _pair(transform['scale'])
        return dict(step='resize', width=width, height=height, **settings)
    x, y = _pair(transform['scale_factor'])
    return dict(step='resize_by', x=x, y=y, **settings)


def _resize_edge(transform: dict) -> dict:
    return dict(step='resize_edge', edge=transform.get('edge', 'short'),
                length=transform['scale'], **_interpolation(transform))


def _resize_to_multiple(transform: dict) -> dict:
    x, y = _pair(transform.get('size_divisor', 32))
    return dict(step='resize_to_multiple', x=x, y=y,
                **_interpolation(transform))


def _center_crop(transform: dict) -> dict:
    _require(transform, auto_pad=False, efficientnet_style=False)
    width, height = _pair(transform['crop_size'])
    return dict(step='center_crop', width=width, height=height)


CONVERTERS: dict[str, Callable[[dict], dict]] = dict(
    LoadImageFromFile=_read, Resize=_resize, ResizeEdge=_resize_edge,
    ResizeToMultiple=_resize_to_multiple, CenterCrop=_center_crop)


def _interpolation(transform: dict) -> dict:
    return dict(library=LIBRARIES[transform.get('backend') or 'cv2'],
                interpolation=transform.get('interpolation') or 'bilinear')


def _pair(value) -> tuple:
    return tuple(value) if isinstance(value, (list, tuple)) else (
        value, value)


def _require(transform: dict, **supported) -> None:
    """Refuse settings that would be lost."""
    for name, value in supported.items():
        if transform.get(name, value) != value:
            raise UserError(f'the test pipeline has {kind_of(transform)} with '
                            f'{name}={transform[name]!r}, which exports do '
                            'not support')


def default_size(steps: Sequence[dict]) -> tuple[int, int]:
    """A typical size of preprocessed images, in multiples of 32."""
    for step in reversed(steps):
        if 'height' in step:
            sides = step['height'], step['width']
            break
        if 'length' in step:
            sides = (step['length'], ) * 2
            break
    else:
        return 512, 512
    # With keep_ratio, (1333, 800) and (800, 1333) are the same, and for
    # (2048, 512) only the short side counts.
    if step.get('keep_ratio'):
        sides = min(sides), min(max(sides), round(min(sides) * 5 / 3))
    height, width = (max(64, math.ceil(side / 32) * 32) for side in sides)
    return height, width
