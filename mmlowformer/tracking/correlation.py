"""Compare a search region with its template."""
import torch
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn


class PixelCorrelation(BaseModule):
    """Correlates each position of the template with the search map.

    Each position of the template gives one output channel: its similarity to
    each position of the search region. Channel attention weighs the channels.
    Sources: `LightTrack <https://arxiv.org/abs/2104.14545>`_, and the authors'
    tracker, https://github.com/altair199797/LowFormer-Track.
    """

    def __init__(self, in_channels: int, positions: int, out_channels: int):
        super().__init__()
        self.search_norm = nn.BatchNorm2d(in_channels)
        self.template_norm = nn.BatchNorm2d(in_channels)
        self.weights = Sequential(
            nn.Conv2d(positions, positions, 1), nn.ReLU(),
            nn.Conv2d(positions, positions, 1), nn.Sigmoid())
        self.projection = nn.Conv2d(positions, out_channels, 1)

    def forward(self, search: Tensor, template: Tensor) -> Tensor:
        search = self.search_norm(search)
        kernels = self.template_norm(template).flatten(2).transpose(1, 2)
        maps = torch.matmul(kernels, search.flatten(2))
        maps = maps.unflatten(2, search.shape[2:])
        return self.projection(
            maps * self.weights(maps.mean((2, 3), keepdim=True)))
