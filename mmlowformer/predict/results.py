"""What was found in an image, in its own pixels."""
import io
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from PIL import Image

from ..errors import UserError, printable
from ..utils.images import OPENCV, read
from ..visualization.drawing import (
    Boxes,
    captioned,
    contact_sheet,
    draw_boxes,
    draw_label,
    draw_mask,
    outlined,
)

# Labels of an image that are told.
TOP = 5


@dataclass
class Result(ABC):
    """What was found in an image.

    Attributes:
        name (str): The image's path, or what it is called else.
        image (np.ndarray): ``(h, w, 3)``, RGB, uint8, upright.
        classes (list[str]): Names of all classes that the model knows.
        palette (list[tuple]): Their colours, RGB.
        seconds (float): What the network took, of a batch this image's share.
    """

    task: ClassVar[str]
    name: str
    image: np.ndarray = field(repr=False)
    classes: list[str] = field(repr=False)
    palette: list[tuple] = field(repr=False)
    seconds: float

    @abstractmethod
    def draw(self) -> Image.Image:
        """The image with what was found drawn in."""

    @abstractmethod
    def json(self) -> list[dict]:
        """Records of plain values; names of classes are in them."""

    @abstractmethod
    def summary(self) -> str:
        """What was found, in a few words."""

    @property
    def size(self) -> str:
        """Width and height, for example ``640x480``."""
        height, width = self.image.shape[:2]
        return f'{width}x{height}'

    def line(self) -> str:
        """Size, what was found, and how long it took, in one line."""
        what = printable(self.summary(), limit=1000)
        return f'{self.size}  {what}  {1e3 * self.seconds:.0f} ms'

    def save(self, file: str) -> None:
        """Write the picture of :meth:`draw`."""
        self.draw().save(file)

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.draw().save(stream, format='PNG')
        return stream.getvalue()

    def _category(self, label: int) -> dict:
        # As in most files of annotations, classes are counted from 1.
        return dict(category_id=label + 1, category_name=self.classes[label])


@dataclass
class Detections(Result):
    """Boxes, the surest first; of instance segmentation masks, too.

    Attributes:
        boxes (np.ndarray): ``(n, 4)``, left, top, right and bottom in pixels,
            float32.
        scores (np.ndarray): ``(n, )``, 0 to 1.
        labels (np.ndarray): ``(n, )``, indices of classes.
        masks (np.ndarray, optional): ``(n, h, w)``, bool.
        score_thr (float): The least score that a box needed.
        best (float, optional): The highest score before that; None without
            any box.
    """

    task = 'detection'
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = field(repr=False)
    score_thr: float
    best: float | None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """Names of the boxes' classes."""
        return [self.classes[label] for label in self.labels]

    def draw(self) -> Image.Image:
        """The image with boxes, names and scores."""
        image = self.image
        if self.masks is not None:
            image = outlined(image, self.masks, [
                self.palette[label] for label in self.labels])
        texts = [f'{name} {score:.2f}'
                 for name, score in zip(self.names, self.scores)]
        return draw_boxes(image, Boxes(
            torch.from_numpy(self.boxes), self.labels.tolist(), texts,
            [True] * len(self)), self.palette)

    def json(self) -> list[dict]:
        """A record for each box, in COCO's format of results."""
        records = [
            dict(file_name=self.name, **self._category(int(label)),
                 bbox=[float(value) for value in
                       (left, top, right - left, bottom - top)],
                 score=float(score))
            for (left, top, right, bottom), score, label in zip(
                self.boxes.astype(float), self.scores, self.labels)]
        if self.masks is not None:
            for record, mask in zip(records, self.masks):
                record['segmentation'] = run_lengths(mask)
        return records

    def summary(self) -> str:
        """Counts by class."""
        best = 'none' if self.best is None else f'best {self.best:.2f}'
        count = f'{len(self)} {"box" if len(self) == 1 else "boxes"}'
        counts = ', '.join(
            f'{number} {self.classes[label]}' for label, number in zip(
                *np.unique(self.labels, return_counts=True)))
        return (f'{count} above {self.score_thr:g} ({best})'
                + (f': {counts}' if counts else ''))

    def crops(self) -> list[Image.Image]:
        """What is in each box, as far as it is in the image."""
        picture = Image.fromarray(self.image)
        corners = self.boxes.clip(0, [[*picture.size] * 2])
        floor, ceil = np.floor(corners[:, :2]), np.ceil(corners[:, 2:])
        return [picture.crop(box) for box in np.hstack([
            floor, np.maximum(ceil, floor + 1)]).astype(int).tolist()]


@dataclass
class Segmentation(Result):
    """A class for each pixel.

    Attributes:
        mask (np.ndarray): ``(h, w)``, indices of classes, uint8 or uint16.
    """

    task = 'segmentation'
    mask: np.ndarray = field(repr=False)

    @cached_property
    def shares(self) -> dict[str, float]:
        """Of the classes that are there, the part of the pixels."""
        labels, counts = np.unique(self.mask, return_counts=True)
        order = counts.argsort(kind='stable')[::-1]
        return {self.classes[labels[i]]: float(counts[i] / self.mask.size)
                for i in order}

    def draw(self) -> Image.Image:
        """The image in grey under the classes' colours, with a legend."""
        legend = [(self.classes[label], self.palette[label])
                  for label in np.unique(self.mask)]
        return captioned(
            [('', draw_mask(self.image, self.mask, self.palette))], legend)

    def indexed(self) -> Image.Image:
        """The mask as a picture whose values are the labels."""
        if self.mask.dtype != np.uint8:
            return Image.fromarray(self.mask)
        picture = Image.fromarray(self.mask).convert('L')
        picture.putpalette(np.asarray(self.palette[:256], np.uint8).tobytes())
        return picture

    def json(self) -> list[dict]:
        """A record for each class, with its pixels as run lengths."""
        return [
            dict(file_name=self.name, **self._category(int(label)),
                 area=int((self.mask == label).sum()),
                 segmentation=run_lengths(self.mask == label))
            for label in np.unique(self.mask)]

    def summary(self) -> str:
        """The largest classes."""
        shown = list(self.shares.items())[:TOP]
        more = len(self.shares) - len(shown)
        return ', '.join(f'{name} {share:.0%}' for name, share in shown) + (
            f' and {more} more' if more else '')


@dataclass
class Classification(Result):
    """A class for the image.

    Attributes:
        scores (np.ndarray): ``(classes, )``, 0 to 1.
    """

    task = 'classification'
    scores: np.ndarray = field(repr=False)

    @property
    def label(self) -> int:
        """Index of the most likely class."""
        return int(self.scores.argmax())

    @property
    def score(self) -> float:
        """Its score."""
        return float(self.scores.max())

    @property
    def top(self) -> list[tuple[str, float]]:
        """The five most likely classes and their scores."""
        return [(self.classes[label], float(self.scores[label]))
                for label in self._order()]

    def _order(self) -> list[int]:
        return (-self.scores).argsort(kind='stable')[:TOP].tolist()

    def draw(self) -> Image.Image:
        """The image with the most likely classes below it."""
        return draw_label(self.image, [
            f'{name} {score:.2f}' for name, score in self.top])

    def json(self) -> list[dict]:
        """One record, with the five most likely classes."""
        return [dict(file_name=self.name, predictions=[
            dict(**self._category(label), score=float(self.scores[label]))
            for label in self._order()])]

    def summary(self) -> str:
        """The most likely class, and the runner-up."""
        return ', '.join(f'{name} {score:.2f}' for name, score in self.top[:2])


@dataclass
class Neighbours(Result):
    """The most similar images of a gallery, the nearest first.

    Attributes:
        gallery (list[str]): Paths of all its images.
        scores (np.ndarray): ``(images, )``, how similar each is.
    """

    task = 'retrieval'
    gallery: list[str] = field(repr=False)
    scores: np.ndarray = field(repr=False)

    @property
    def top(self) -> list[tuple[str, float]]:
        """The five nearest images and their scores."""
        order = (-self.scores).argsort(kind='stable')[:TOP]
        return [(self.gallery[index], float(self.scores[index]))
                for index in order]

    def draw(self) -> Image.Image:
        """The image beside its neighbours."""
        return contact_sheet([
            ('query', Image.fromarray(self.image)),
            *((f'{os.path.basename(path)} {score:.2f}', as_picture(path))
              for path, score in self.top)])

    def json(self) -> list[dict]:
        """One record, with the five nearest images."""
        return [dict(file_name=self.name, neighbours=[
            dict(file_name=path, score=score) for path, score in self.top])]

    def summary(self) -> str:
        """The nearest images."""
        return ', '.join(f'{os.path.basename(path)} {score:.2f}'
                         for path, score in self.top[:3])


def as_picture(path: str) -> Image.Image:
    """A file's image, as models see it."""
    return Image.fromarray(read(path, OPENCV)[..., ::-1])


def run_lengths(mask: np.ndarray) -> dict:
    """A mask in COCO's compressed format."""
    # Needed for masks alone, and not by all hosts.
    from pycocotools import mask as coco
    code = coco.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=list(map(int, code['size'])),
                counts=code['counts'].decode())


def result_of(sample: BaseDataElement, score_thr: float,
              gallery: list[str] | None = None, **common) -> Result:
    """What a model says about an image, without the host's types."""
    if 'pred_instances' in sample:
        return _detections(sample.pred_instances.cpu().numpy(), score_thr,
                           common)
    if 'pred_sem_seg' in sample:
        mask = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        few = len(common['classes']) <= 256
        return Segmentation(**common, mask=mask.astype(
            np.uint8 if few else np.uint16))
    if 'pred_score' in sample and gallery is not None:
        return Neighbours(**common, gallery=gallery,
                          scores=sample.pred_score.float().cpu().numpy())
    if 'pred_score' in sample:
        return Classification(
            **common, scores=sample.pred_score.float().cpu().numpy())
    raise UserError('the model predicts neither boxes, nor masks, nor labels '
                    f'({", ".join(sample.keys()) or "nothing"})')


def _detections(found: BaseDataElement, score_thr: float, common: dict
                ) -> Detections:
    order = (-found.scores).argsort(kind='stable')
    best = float(found.scores[order[0]]) if len(order) else None
    order = order[found.scores[order] >= score_thr]
    masks = found.masks[order].astype(bool) if 'masks' in found else None
    return Detections(
        **common, boxes=found.bboxes[order], scores=found.scores[order],
        labels=found.labels[order], masks=masks, score_thr=score_thr,
        best=best)
