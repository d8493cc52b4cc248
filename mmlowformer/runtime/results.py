"""What an exported model finds in an image, in the image's own pixels."""
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Detections:
    """Boxes, the surest first.

    Attributes:
        boxes (np.ndarray): ``(n, 4)``, left, top, right and bottom, float32.
        scores (np.ndarray): ``(n, )``, 0 to 1.
        labels (np.ndarray): ``(n, )``, indices of classes.
        names (list[str]): Of the boxes' classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: list[str]

    def above(self, score: float) -> 'Detections':
        """Those that are as sure.

        Args:
            score (float): The least score.

        Returns:
            Detections: Others.
        """
        kept = np.flatnonzero(self.scores >= score)
        return Detections(self.boxes[kept], self.scores[kept],
                          self.labels[kept], [self.names[i] for i in kept])

    def json(self) -> list[dict]:
        """Plain values; boxes as left, top, width and height."""
        return [dict(category_name=name, score=float(score), bbox=[
            float(value) for value in (*box[:2], *(box[2:] - box[:2]))])
            for box, score, name in zip(self.boxes, self.scores, self.names)]


@dataclass
class Segmentation:
    """A class for each pixel.

    Attributes:
        mask (np.ndarray): ``(h, w)``, indices of classes.
        logits (np.ndarray): ``(classes, h, w)``, what it was decided by.
        classes (list[str]): Names of all classes.
    """

    mask: np.ndarray
    logits: np.ndarray = field(repr=False)
    classes: list[str] = field(repr=False)

    @property
    def shares(self) -> dict[str, float]:
        """Of the classes that are there, the part of the pixels."""
        labels, counts = np.unique(self.mask, return_counts=True)
        return {self.classes[label]: float(count / self.mask.size)
                for label, count in zip(labels, counts)}

    def json(self) -> list[dict]:
        """Plain values."""
        return [dict(category_name=name, share=share)
                for name, share in self.shares.items()]


@dataclass
class Classification:
    """A class for the image.

    Attributes:
        scores (np.ndarray): ``(classes, )``, 0 to 1.
        classes (list[str]): Names of all classes.
    """

    scores: np.ndarray = field(repr=False)
    classes: list[str] = field(repr=False)

    @property
    def label(self) -> int:
        """Index of the most likely class."""
        return int(self.scores.argmax())

    @property
    def name(self) -> str:
        """The most likely class."""
        return self.classes[self.label]

    @property
    def score(self) -> float:
        """Its score."""
        return float(self.scores.max())

    def json(self) -> list[dict]:
        """Plain values, of the five most likely classes."""
        order = (-self.scores).argsort(kind='stable')[:5]
        return [dict(category_name=self.classes[label],
                     score=float(self.scores[label])) for label in order]


@dataclass
class Features:
    """A backbone's maps.

    Attributes:
        maps (dict[str, np.ndarray]): ``(c, h, w)`` each, by name.
    """

    maps: dict[str, np.ndarray] = field(repr=False)

    def json(self) -> list[dict]:
        """Their shapes."""
        return [dict(name=name, shape=list(value.shape))
                for name, value in self.maps.items()]


Result = Detections | Segmentation | Classification | Features
