"""From the data samples of OpenMMLab's models to results."""
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmengine.structures import BaseDataElement
from PIL import Image

from ..errors import UserError
from ..runtime.masks import label_dtype
from ..runtime.results import (
    Classification,
    Detections,
    Result,
    Segmentation,
    highest,
)
from ..utils.images import OPENCV, read
from ..visualization.drawing import contact_sheet


@dataclass(kw_only=True)
class RetrievalResult(Result):
    """The most similar images of a gallery.

    Attributes:
        gallery (list[str]): Paths of all its images.
        scores (np.ndarray): ``(images, )``, similarity to each.
    """

    task = 'retrieval'
    gallery: list[str] = field(repr=False)
    scores: np.ndarray = field(repr=False)

    @property
    def top(self) -> list[tuple[str, float]]:
        """The five most similar images and their scores."""
        return [(self.gallery[index], float(self.scores[index]))
                for index in highest(self.scores)]

    def draw(self) -> Image.Image:
        """Draw the image beside the most similar ones."""
        return contact_sheet([
            ('query', Image.fromarray(self.image)),
            *((f'{_with_folder(path)} {score:.2f}', load_image(path))
              for path, score in self.top)])

    def json(self, masks: bool = True) -> list[dict]:
        """One record, with the five most similar images."""
        found = [dict(file_name=path, score=score) for path, score in self.top]
        # The second key is the old name, for one release.
        return [dict(file_name=self.name, neighbors=found, neighbours=found)]

    def summary(self) -> str:
        """The three most similar images."""
        return ', '.join(f'{_with_folder(path)} {score:.2f}'
                         for path, score in self.top[:3])


def _with_folder(path: str) -> str:
    """The name of a file, with its folder, often a class."""
    return '/'.join(Path(path).parts[-2:])


def load_image(path: str) -> Image.Image:
    """Read an image file as models do."""
    return Image.fromarray(read(path, OPENCV)[..., ::-1])


def result_of(sample: BaseDataElement, score_thr: float,
              gallery: list[str] | None = None, **common) -> Result:
    """Convert a model's data sample to a result."""
    if 'pred_instances' in sample:
        found = sample.pred_instances.cpu().numpy()
        masks = (found.masks.astype(bool, copy=False) if 'masks' in found
                 else None)
        return Detections(
            **common, boxes=found.bboxes, scores=found.scores,
            labels=found.labels, masks=masks).above(score_thr)
    if 'pred_sem_seg' in sample:
        mask = sample.pred_sem_seg.numpy().data.squeeze(0)
        return Segmentation(**common, mask=mask.astype(
            label_dtype(len(common['classes'])), copy=False))
    if 'pred_score' not in sample:
        raise UserError('the model predicts neither boxes, nor masks, nor '
                        f'labels ({", ".join(sample.keys()) or "nothing"})')
    scores = sample.pred_score.float().cpu().numpy()
    if gallery is not None:
        return RetrievalResult(**common, gallery=gallery, scores=scores)
    return Classification(**common, scores=scores)
