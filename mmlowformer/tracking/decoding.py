"""Decode a tracker's output maps to boxes."""
import torch
from torch import Tensor

# Score, offset and size, see ``TrackerHead``.
Maps = tuple[Tensor, Tensor, Tensor]


def hann_window(size: int) -> Tensor:
    """Weights that prefer the center of a map, above 0 at its edges."""
    line = torch.hann_window(size + 2, periodic=False, dtype=torch.float64,
                             device='cpu')[1:-1]
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
