"""Results of a model for an image, without torch and OpenMMLab."""
import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..errors import UserError, printable
from ..utils.imports import need, warn_renamed
from .masks import (
    MAX_RLE_PIXELS,
    count_labels,
    encode_labels,
    encode_rle,
    label_dtype,
)

if TYPE_CHECKING:
    from PIL import Image

# Labels of an image in its records, pictures and summary.
TOP = 5


@dataclass(kw_only=True)
class Result:
    """The prediction for an image.

    Attributes:
        name (str): Path of the image, or another name.
        image (np.ndarray): ``(h, w, 3)``, RGB, uint8, upright. Of a TIFF file
            that is read by windows, an object that reads slices of rows and
            columns, or the whole image for ``np.asarray``.
        classes (list[str]): Names of all classes of the model.
        palette (list[tuple]): Colors of the classes, RGB.
        seconds (float): Time of the network, divided by the batch size.
    """

    task: ClassVar[str]
    name: str = ''
    image: np.ndarray = field(
        default_factory=lambda: np.empty((0, 0, 3), np.uint8), repr=False)
    classes: list[str] = field(default_factory=list, repr=False)
    palette: list[tuple] = field(default_factory=list, repr=False)
    seconds: float = 0.

    def draw(self) -> 'Image.Image':
        """Draw the result into the image."""
        raise UserError(f'a result of {self.task} cannot be drawn')

    def json(self, masks: bool = True) -> list[dict]:
        """Convert the result to plain values.

        Args:
            masks (bool): Whether to include masks, as COCO's run-length
                encoding, which needs pycocotools. Defaults to True.

        Returns:
            list[dict]: Records with the names of file and classes.
        """
        raise NotImplementedError

    def summary(self) -> str:
        """Describe the result in a few words."""
        raise NotImplementedError

    @property
    def size(self) -> str:
        """Width and height, for example ``640x480``."""
        height, width = self.image.shape[:2]
        return f'{width}x{height}'

    def line(self) -> str:
        """Size, summary and milliseconds, in one line."""
        summary = printable(self.summary(), limit=1000)
        return f'{self.size}  {summary}  {1e3 * self.seconds:.0f} ms'

    def save(self, file: str) -> None:
        """Write the picture of :meth:`draw`.

        Args:
            file (str): The suffix selects the format.
        """
        self.draw().save(file)

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.draw().save(stream, format='PNG')
        return stream.getvalue()

    def _category(self, label: int) -> dict:
        # Like most annotation files, records count classes from 1.
        return dict(category_id=int(label) + 1,
                    category_name=self.classes[label])


@dataclass(kw_only=True)
class Detections(Result):
    """Boxes, and masks of instance segmentation.

    Attributes:
        boxes (np.ndarray): ``(n, 4)``, left, top, right and bottom in pixels,
            float32.
        scores (np.ndarray): ``(n, )``, 0 to 1.
        labels (np.ndarray): ``(n, )``, indices of classes.
        masks (np.ndarray, optional): ``(n, h, w)``, bool.
        score_thr (float): Threshold of the scores.
        best (float, optional): Highest score before the threshold; None
            without boxes.
    """

    task = 'detection'
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = field(default=None, repr=False)
    score_thr: float = 0.
    best: float | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """Class names of the boxes."""
        return [self.classes[label] for label in self.labels]

    def above(self, score_thr: float) -> 'Detections':
        """Keep the boxes with at least this score, the highest first."""
        order = (-self.scores).argsort(kind='stable')
        order = order[self.scores[order] >= score_thr]
        return replace(
            self, boxes=self.boxes[order], scores=self.scores[order],
            labels=self.labels[order], score_thr=score_thr,
            masks=None if self.masks is None else self.masks[order],
            best=float(self.scores.max()) if len(self) else None)

    def draw(self) -> 'Image.Image':
        """Draw boxes, masks, names and scores."""
        drawing, image = _drawing(), self.image
        if self.masks is not None:
            image = drawing.outlined(image, self.masks, [
                self.palette[label] for label in self.labels])
        texts = [f'{name} {score:.2f}'
                 for name, score in zip(self.names, self.scores)]
        return drawing.draw_boxes(image, drawing.Boxes(
            self.boxes, self.labels.tolist(), texts, [True] * len(self),
            self.names), self.palette)

    def json(self, masks: bool = True) -> list[dict]:
        """One record for each box, in COCO's result format."""
        records = [
            dict(file_name=self.name, **self._category(label),
                 bbox=left_top_width_height(box), score=float(score))
            for box, score, label in zip(self.boxes, self.scores,
                                         self.labels)]
        if masks and self.masks is not None:
            for record, mask in zip(records, self.masks):
                record['segmentation'] = encode_rle(mask)
        return records

    def summary(self) -> str:
        """Count the boxes of each class."""
        best = 'none' if self.best is None else f'best {self.best:.2f}'
        count = f'{len(self)} {"box" if len(self) == 1 else "boxes"}'
        counts = ', '.join(
            f'{number} {self.classes[label]}' for label, number in zip(
                *np.unique(self.labels, return_counts=True)))
        return (f'{count} above {self.score_thr:g} ({best})'
                + (f': {counts}' if counts else ''))

    def crops(self) -> 'list[Image.Image]':
        """Cut the boxes out of the image."""
        pillow = need('PIL.Image', 'pillow')
        height, width = self.image.shape[:2]
        corners = self.boxes.clip(0, [[width, height] * 2])
        floor = np.minimum(np.floor(corners[:, :2]), [width - 1, height - 1])
        ceil = np.maximum(np.ceil(corners[:, 2:]), floor + 1)
        return [pillow.fromarray(np.ascontiguousarray(
            self.image[top:bottom, left:right]))
            for left, top, right, bottom in np.hstack(
                [floor, ceil]).astype(int).tolist()]


@dataclass(kw_only=True)
class Segmentation(Result):
    """A class for each pixel.

    Attributes:
        mask (np.ndarray): ``(h, w)``, indices of classes, uint8, or uint16
            of more than 256 classes.
        logits (np.ndarray, optional): ``(classes, h, w)``, of exported models
            only.
    """

    task = 'segmentation'
    mask: np.ndarray = field(repr=False)
    logits: np.ndarray | None = field(default=None, repr=False)

    @cached_property
    def _counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The predicted labels, and the pixels of each."""
        counts = count_labels(self.mask)
        labels = np.flatnonzero(counts)
        return labels, counts[labels]

    @property
    def class_fractions(self) -> dict[str, float]:
        """Fraction of the pixels of each predicted class, largest first."""
        labels, counts = self._counts
        order = counts.argsort(kind='stable')[::-1]
        return {self.classes[labels[i]]: float(counts[i] / self.mask.size)
                for i in order}

    @property
    def shares(self) -> dict[str, float]:
        """Deprecated name of ``class_fractions``."""
        warn_renamed('shares', 'class_fractions')
        return self.class_fractions

    def draw(self) -> 'Image.Image':
        """Draw the classes' colors over the gray image, with a legend."""
        drawing = _drawing()
        legend = [(self.classes[label], self.palette[label])
                  for label in self._counts[0]]
        return drawing.captioned([('', drawing.draw_mask(
            self.image, self.mask, self.palette))], legend)

    def indexed(self) -> 'Image.Image':
        """The mask as a picture whose values are the labels."""
        dtype = label_dtype(len(self.classes))
        picture = need('PIL.Image', 'pillow').fromarray(
            self.mask.astype(dtype, copy=False))
        if dtype is np.uint8:
            picture.putpalette(np.asarray(self.palette, np.uint8).tobytes())
        return picture

    def json(self, masks: bool = True) -> list[dict]:
        """One record for each predicted class.

        COCO's run lengths cannot encode a mask of 2**32 pixels, whose records
        have none.
        """
        masks = masks and self.mask.size <= MAX_RLE_PIXELS
        codes = encode_labels(self.mask) if masks else {}
        records = []
        for label, count in zip(*self._counts):
            records.append(dict(
                file_name=self.name, **self._category(label),
                area=int(count), share=float(count / self.mask.size)))
            if masks:
                records[-1]['segmentation'] = codes[label]
        return records

    def summary(self) -> str:
        """The largest classes."""
        shown = list(self.class_fractions.items())[:TOP]
        more = len(self.class_fractions) - len(shown)
        return ', '.join(f'{name} {share:.0%}' for name, share in shown) + (
            f' and {more} more' if more else '')


@dataclass(kw_only=True)
class Classification(Result):
    """A class for the image.

    Attributes:
        scores (np.ndarray): ``(classes, )``, 0 to 1.
    """

    task = 'classification'
    scores: np.ndarray = field(repr=False)

    @property
    def label(self) -> int:
        """Index of the class with the highest score."""
        return int(self.scores.argmax())

    @property
    def class_name(self) -> str:
        """Name of the class with the highest score."""
        return self.classes[self.label]

    @property
    def score(self) -> float:
        """The highest score."""
        return float(self.scores.max())

    @property
    def top(self) -> list[tuple[str, float]]:
        """The five classes with the highest scores, and the scores."""
        return [(self.classes[label], float(self.scores[label]))
                for label in highest(self.scores)]

    def draw(self) -> 'Image.Image':
        """Draw the five classes below the image."""
        return _drawing().draw_label(self.image, [
            f'{name} {score:.2f}' for name, score in self.top])

    def json(self, masks: bool = True) -> list[dict]:
        """One record, with the five classes."""
        return [dict(file_name=self.name, predictions=[
            dict(**self._category(label), score=float(self.scores[label]))
            for label in highest(self.scores)])]

    def summary(self) -> str:
        """The two classes with the highest scores."""
        return ', '.join(f'{name} {score:.2f}' for name, score in self.top[:2])


@dataclass(kw_only=True)
class Features(Result):
    """Feature maps of an exported backbone.

    Attributes:
        maps (dict[str, np.ndarray]): ``(c, h, w)`` each, by name.
    """

    task = 'features'
    maps: dict[str, np.ndarray] = field(repr=False)

    def json(self, masks: bool = True) -> list[dict]:
        """One record for each map, with its shape."""
        return [dict(file_name=self.name, name=name, shape=list(value.shape))
                for name, value in self.maps.items()]

    def summary(self) -> str:
        """Names of the maps."""
        return ', '.join(self.maps)


def highest(scores: np.ndarray) -> list[int]:
    """Indices of the five highest scores."""
    return (-scores).argsort(kind='stable')[:TOP].tolist()


def left_top_width_height(box: Iterable[float]) -> list[float]:
    """Convert a box from its corners to COCO's order."""
    left, top, right, bottom = map(float, box)
    return [left, top, right - left, bottom - top]


def _drawing() -> ModuleType:
    """Import what needs Pillow, which predicting may not."""
    need('PIL', 'pillow')
    from ..visualization import drawing
    return drawing
