"""Results as the page takes them."""
import base64
import io
import math
import os
from collections.abc import Sequence
from functools import singledispatch

import numpy as np
from PIL import Image

from ..errors import printable
from ..predict import (
    Classification,
    Detections,
    Result,
    RetrievalResult,
    Segmentation,
)
from ..predict.results import load_image

# Of the pictures for the page; coordinates stay those of the photo.
LONGEST_SIDE = 1600
THUMBNAIL = 240


def answer_of(result: Result) -> dict:
    """A result with the pictures that show it."""
    height, width = result.image.shape[:2]
    return dict(
        task=result.task, width=width, height=height,
        milliseconds=round(1e3 * result.seconds, 1),
        picture=_as_url(_shrunk(Image.fromarray(result.image)), 'JPEG'),
        **_found(result))


@singledispatch
def _found(result: Result) -> dict:
    raise TypeError(f'{type(result).__name__} has no place on the page')


@_found.register
def _(result: Detections) -> dict:
    objects = [
        dict(name=printable(name), score=float(score), box=box,
             colour=_css(colour))
        for name, score, box, colour in zip(
            result.names, result.scores, result.boxes.astype(float).tolist(),
            [result.palette[label] for label in result.labels])]
    if result.masks is not None:
        for found, mask, label in zip(objects, result.masks, result.labels):
            found['mask'] = _layer(mask.astype(np.uint8), [
                None, result.palette[label]])
    return dict(objects=objects)


@_found.register
def _(result: Segmentation) -> dict:
    return dict(
        layer=_layer(result.mask, result.palette),
        labels=[dict(name=printable(name), score=share, colour=_css(
            result.palette[result.classes.index(name)]))
            for name, share in result.class_fractions.items()])


@_found.register
def _(result: Classification) -> dict:
    return dict(labels=[dict(name=printable(name), score=score)
                        for name, score in result.top])


@_found.register
def _(result: RetrievalResult) -> dict:
    return dict(labels=[
        dict(name=printable(os.path.basename(path)), score=score,
             picture=_thumbnail(path)) for path, score in result.top])


def _css(colour: tuple) -> str:
    return '#' + ''.join(f'{part:02x}' for part in colour)


def _thumbnail(path: str) -> str:
    picture = load_image(path)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return _as_url(picture, 'JPEG')


def _layer(mask: np.ndarray, palette: Sequence[tuple | None]) -> str:
    """Labels as a picture to lay over the photo; None is transparent."""
    step = math.ceil(max(mask.shape) / LONGEST_SIDE)
    colours = np.array([(*colour, 255) if colour else (0, 0, 0, 0)
                        for colour in palette], np.uint8)
    return _as_url(Image.fromarray(colours[mask[::step, ::step]]), 'PNG')


def _shrunk(picture: Image.Image) -> Image.Image:
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return picture


def _as_url(picture: Image.Image, kind: str) -> str:
    stream = io.BytesIO()
    picture.save(stream, format=kind)
    code = base64.b64encode(stream.getvalue()).decode()
    return f'data:image/{kind.lower()};base64,{code}'
