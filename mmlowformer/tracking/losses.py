"""What a tracker learns from: a map of where the object is, and its box.

Sources: `OSTrack <https://arxiv.org/abs/2203.11991>`_, whose losses the
authors' tracker has, and `CornerNet <https://arxiv.org/abs/1808.01244>`_ for
the radius and the focal loss.
"""
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

# A box moved by the radius still overlaps the true one as much.
OVERLAP = 0.7
# Cells of the map that are at least so sure are of the object.
POSITIVE = 0.1
ALPHA, BETA = 2, 4


def heat_maps(boxes: Tensor, size: int) -> Tensor:
    """Where the centres of objects are, with a Gaussian around each."""
    sides = (boxes[:, 2:] - boxes[:, :2]) * size
    radius = gaussian_radius(*sides.unbind(1)).clamp_min(0).floor()
    cells = centre_cells(boxes, size).float()
    positions = torch.arange(size, device=boxes.device)
    x, y = ((positions - cells[:, axis, None]).abs() for axis in (0, 1))
    sigma = ((2 * radius + 1) / 6)[:, None, None]
    squares = y[:, :, None]**2 + x[:, None]**2
    reach = radius[:, None]
    inside = (y <= reach)[:, :, None] & (x <= reach)[:, None]
    return (torch.exp(-squares / (2 * sigma**2)) * inside).unsqueeze(1)


def centre_cells(boxes: Tensor, size: int) -> Tensor:
    """The cells of a map at the centres of boxes."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * size
    return centres.round().long().clamp(0, size - 1)


def gaussian_radius(width: Tensor, height: Tensor) -> Tensor:
    """How far corners may move; CornerNet's way, with its well-known slip.

    The roots are divided by 2 instead of by twice the leading coefficient,
    as in all trackers that descend from it.
    """
    total, area = width + height, width * height
    lost = 1 - OVERLAP
    return torch.stack([
        _root(1., total, area * lost / (1 + OVERLAP)),
        _root(4., 2 * total, area * lost),
        _root(4 * OVERLAP, -2 * OVERLAP * total, -area * lost)]).amin(0)


def _root(a: float, b: Tensor, c: Tensor) -> Tensor:
    return (b + torch.sqrt(b**2 - 4 * a * c)) / 2


def focal_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """CornerNet's focal loss, over the number of positive cells."""
    positive = targets > POSITIVE
    gain = torch.log(scores) * (1 - scores)**ALPHA
    cost = torch.log(1 - scores) * scores**ALPHA * (1 - targets)**BETA
    total = torch.where(positive, gain, cost).sum()
    return -total / positive.sum().clamp_min(1)


def box_losses(boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """How far predicted boxes are from the true ones."""
    targets = targets.clamp(0, 1)
    return (generalized_box_iou_loss(boxes, targets, reduction='mean'),
            F.l1_loss(boxes, targets))
