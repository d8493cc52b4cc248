"""From a tracker's maps to a box."""
import torch
from torch import Tensor

# Score, offset and size, see ``TrackerHead``.
Maps = tuple[Tensor, Tensor, Tensor]


def hann_window(size: int) -> Tensor:
    """Weights that prefer the middle of a map, without zeros at its rim."""
    steps = torch.arange(1, size + 1, dtype=torch.float64, device='cpu')
    line = 0.5 * (1 - torch.cos(2 * torch.pi * steps / (size + 1)))
    return torch.outer(line, line).float()


def best_cells(scores: Tensor) -> Tensor:
    """Where scores are largest."""
    return scores.flatten(1).argmax(1)


def boxes_at(cells: Tensor, maps: Maps) -> Tensor:
    """The boxes that are predicted at positions."""
    size = maps[0].shape[-1]
    index = cells[:, None, None].expand(-1, 2, 1)
    offset, sides = (part.flatten(2).gather(2, index).squeeze(2)
                     for part in maps[1:])
    places = torch.stack([cells % size, cells // size], 1)
    return torch.cat([(places + offset) / size, sides], 1)


def corners(boxes: Tensor) -> Tensor:
    """Left, top, right and bottom of boxes."""
    half = boxes[:, 2:] / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], 1)
