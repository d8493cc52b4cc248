"""Decode a tracker's output maps to boxes."""
import torch
from torch import Tensor

# Score, offset and size, see ``TrackerHead``.
Maps = tuple[Tensor, Tensor, Tensor]


def hann_window(size: int) -> Tensor:
    """Weights that prefer the center of a map, above 0 at its edges."""
    steps = torch.arange(1, size + 1, dtype=torch.float64, device='cpu')
    line = 0.5 * (1 - torch.cos(2 * torch.pi * steps / (size + 1)))
    return torch.outer(line, line).float()


def peak_positions(scores: Tensor) -> Tensor:
    """Flat positions of the highest scores."""
    return scores.flatten(1).argmax(1)


def boxes_at(positions: Tensor, maps: Maps) -> Tensor:
    """Boxes (center and size) that are predicted at flat positions."""
    size = maps[0].shape[-1]
    index = positions[:, None, None].expand(-1, 2, 1)
    offset, sides = (part.flatten(2).gather(2, index).squeeze(2)
                     for part in maps[1:])
    places = torch.stack([positions % size, positions // size], 1)
    return torch.cat([(places + offset) / size, sides], 1)


def corners(boxes: Tensor) -> Tensor:
    """Convert centers and sizes to corners."""
    half = boxes[:, 2:] / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], 1)
