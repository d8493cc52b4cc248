"""Results as JSON for the page."""
import base64
import io
import math
import os
from collections.abc import Sequence
from functools import singledispatch

import numpy as np
from PIL import Image

from ..errors import printable
from ..predict.results import RetrievalResult, load_image
from ..runtime.results import (
    Classification,
    Detections,
    Result,
    Segmentation,
)

# Pixels of images for the page; coordinates are those of the original.
LONGEST_SIDE = 1600
THUMBNAIL = 240


def response_data(result: Result) -> dict:
    """A result with its images."""
    height, width = result.image.shape[:2]
    return dict(
        task=result.task, width=width, height=height,
        milliseconds=round(1e3 * result.seconds, 1),
        picture=_picture(Image.fromarray(result.image), LONGEST_SIDE),
        **_predictions(result))


@singledispatch
def _predictions(result: Result) -> dict:
    raise TypeError(f'the page cannot show a {type(result).__name__}')


@_predictions.register
def _(result: Detections) -> dict:
    objects = [
        dict(name=printable(name), score=float(score), box=box,
             color=_css(result.palette[label]))
        for name, score, box, label in zip(
            result.names, result.scores, result.boxes.astype(float).tolist(),
            result.labels)]
    if result.masks is not None:
        for item, mask, label in zip(objects, result.masks, result.labels):
            item['mask'] = _layer(mask.astype(np.uint8), [
                None, result.palette[label]])
    return dict(objects=objects)


@_predictions.register
def _(result: Segmentation) -> dict:
    return dict(
        layer=_layer(result.mask, result.palette),
        labels=[dict(name=printable(name), score=share, color=_css(
            result.palette[result.classes.index(name)]))
            for name, share in result.class_fractions.items()])


@_predictions.register
def _(result: Classification) -> dict:
    return dict(labels=[dict(name=printable(name), score=score)
                        for name, score in result.top])


@_predictions.register
def _(result: RetrievalResult) -> dict:
    return dict(labels=[
        dict(name=printable(os.path.basename(path)), score=score,
             picture=_picture(load_image(path), THUMBNAIL))
        for path, score in result.top])


def _css(color: tuple) -> str:
    return '#' + ''.join(f'{part:02x}' for part in color)


def _picture(image: Image.Image, longest: int) -> str:
    image.thumbnail((longest, longest))
    return _data_url(image, 'JPEG')


def _layer(mask: np.ndarray, palette: Sequence[tuple | None]) -> str:
    """Labels as an overlay; None is transparent."""
    step = math.ceil(max(mask.shape) / LONGEST_SIDE)
    colors = np.array([(*color, 255) if color else (0, 0, 0, 0)
                       for color in palette], np.uint8)
    return _data_url(Image.fromarray(colors[mask[::step, ::step]]), 'PNG')


def _data_url(image: Image.Image, kind: str) -> str:
    stream = io.BytesIO()
    image.save(stream, format=kind)
    code = base64.b64encode(stream.getvalue()).decode()
    return f'data:image/{kind.lower()};base64,{code}'
