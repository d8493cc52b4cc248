"""Normalize the tracker's input images."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ..registry import MODELS

# ImageNet's, RGB.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


@MODELS.register_module()
class TrackerPreprocessor(BaseDataPreprocessor):
    """Normalizes the images of pairs; videos pass unchanged.

    Args:
        mean (Sequence[float]): Mean of each channel, RGB. Defaults to
            ImageNet's.
        std (Sequence[float]): Standard deviation of each channel, RGB.
            Defaults to ImageNet's.
    """

    def __init__(self, mean: Sequence[float] = MEAN,
                 std: Sequence[float] = STD):
        super().__init__()
        for name, values in dict(mean=mean, std=std).items():
            self.register_buffer(
                name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        data = self.cast_data(data)
        inputs = data['inputs']
        if isinstance(inputs, dict):
            inputs = {name: self.normalize(torch.stack(list(images)))
                      for name, images in inputs.items()}
        return dict(inputs=inputs, data_samples=data.get('data_samples'))

    def normalize(self, images: Tensor) -> Tensor:
        """Normalize images ``(N, 3, H, W)``, BGR to RGB."""
        return (images.float().flip(1) - self.mean) / self.std
