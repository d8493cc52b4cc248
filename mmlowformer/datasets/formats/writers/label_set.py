"""What all writers of labels need."""
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np

from ....errors import UserError, is_printable, shown
from ..annotations import AnnotatedImage, Annotation


class LabelSet(NamedTuple):
    """Images with objects, to be written to a folder.

    The ``extra`` of an image may hold ``scores``, one for each object.
    """

    folder: Path  # where to write
    target: Path  # what the folder will be called
    root: Path  # folder of the images
    names: Sequence[str]  # all names of images in it
    classes: list[str]
    images: Iterable[AnnotatedImage]  # one after the other
    model: str = ''  # name of the model


def child(parent: ElementTree.Element, tag: str, text: object = ''
          ) -> ElementTree.Element:
    """Add an element with a text."""
    node = ElementTree.SubElement(parent, tag)
    node.text = str(text)
    return node


def check_xml(name: str) -> str:
    """Refuse a name with characters that XML cannot hold."""
    if is_printable(name):
        return name
    raise UserError(f'XML cannot hold the name {shown(repr(name))}: rename '
                    'it, or choose coco')


def points_of(polygon: list[float]) -> list[list[float]]:
    """Pairs of coordinates."""
    return np.reshape(polygon, (-1, 2)).tolist()


def largest_polygon(item: Annotation) -> list[float] | None:
    """The largest part of an object, None for a box."""
    if not isinstance(item.segmentation, list):
        return None
    return max(item.segmentation, key=lambda polygon: cv2.contourArea(
        np.float32(polygon).reshape(-1, 2)))
