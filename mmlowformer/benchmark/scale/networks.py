"""Networks that take no time: what is measured is the tool around them.

A config imports this module: ``custom_imports``.
"""
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from ...registry import MODELS

# Width and height of a box, and the distance to the next one.
SIDE, STEP = 8, 12
# Boxes in a row.
ROW = 5
CLASSES = 5


def box_grid(count: int) -> InstanceData:
    """Boxes that do not touch each other."""
    numbers = torch.arange(count)
    corners = torch.stack([numbers % ROW, numbers // ROW], 1) * float(STEP)
    return InstanceData(
        bboxes=torch.cat([corners, corners + SIDE], 1),
        labels=torch.zeros(count, dtype=torch.long),
        scores=torch.full((count, ), 0.9))


class ConstantModel(BaseModel):
    """A model with a weight, since checkpoints need one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


@MODELS.register_module()
class ConstantDetector(ConstantModel):
    """Predicts the same boxes in each image.

    Args:
        boxes (int): Their number.
    """

    def __init__(self, boxes: int):
        super().__init__()
        self.boxes = boxes

    def forward(self, inputs: list, data_samples: list[BaseDataElement],
                mode: str = 'predict') -> list[BaseDataElement]:
        """See ``mmengine.model.BaseModel``."""
        for sample in data_samples:
            sample.pred_instances = box_grid(self.boxes)
        return data_samples


@MODELS.register_module()
class ConstantSegmentor(ConstantModel):
    """Predicts a vertical stripe for each class in each image."""

    def forward(self, inputs: list, data_samples: list[BaseDataElement],
                mode: str = 'predict') -> list[BaseDataElement]:
        """See ``mmengine.model.BaseModel``."""
        for sample in data_samples:
            height, width = sample.ori_shape
            logits = torch.zeros(CLASSES, height, width)
            labels = torch.arange(width) * CLASSES // width
            logits[labels, :, torch.arange(width)] = 1.
            sample.seg_logits = PixelData(data=logits)
            sample.pred_sem_seg = PixelData(
                data=labels.expand(1, height, width))
        return data_samples
