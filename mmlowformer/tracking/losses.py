"""Losses of a tracker: focal loss of the score map, GIoU and L1 of the box.

Sources: `OSTrack <https://arxiv.org/abs/2203.11991>`_, whose losses the
authors' tracker uses, and `CornerNet <https://arxiv.org/abs/1808.01244>`_ for
the radius and the focal loss.
"""
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

# IoU of a box with the true one after moving by the radius.
OVERLAP = 0.7
# Targets above this value are positive.
POSITIVE = 0.1
ALPHA, BETA = 2, 4


def heat_maps(boxes: Tensor, size: int) -> Tensor:
    """Target score maps, with a Gaussian around each object's center."""
    sides = (boxes[:, 2:] - boxes[:, :2]) * size
    radius = gaussian_radius(*sides.unbind(1)).clamp_min(0).floor()
    cells = center_cells(boxes, size).float()
    positions = torch.arange(size, device=boxes.device)
    x, y = ((positions - cells[:, axis, None]).abs() for axis in (0, 1))
    sigma = ((2 * radius + 1) / 6)[:, None, None]
    squares = y[:, :, None]**2 + x[:, None]**2
    reach = radius[:, None]
    inside = (y <= reach)[:, :, None] & (x <= reach)[:, None]
    return (torch.exp(-squares / (2 * sigma**2)) * inside).unsqueeze(1)


def center_cells(boxes: Tensor, size: int) -> Tensor:
    """Column and row of the cell at each box's center."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2 * size
    return centers.round().long().clamp(0, size - 1)


def gaussian_radius(width: Tensor, height: Tensor) -> Tensor:
    """CornerNet's limit for moved corners, with its well-known mistake."""
    # It divides the roots by 2 instead of twice the leading coefficient, and
    # so do all trackers that descend from it.
    total, area = width + height, width * height
    lost = 1 - OVERLAP
    return torch.stack([
        _root(1., total, area * lost / (1 + OVERLAP)),
        _root(4., 2 * total, area * lost),
        _root(4 * OVERLAP, -2 * OVERLAP * total, -area * lost)]).amin(0)


def _root(a: float, b: Tensor, c: Tensor) -> Tensor:
    return (b + torch.sqrt(b**2 - 4 * a * c)) / 2


def focal_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """CornerNet's focal loss, divided by the number of positive cells."""
    positive = targets > POSITIVE
    gain = torch.log(scores) * (1 - scores)**ALPHA
    cost = torch.log(1 - scores) * scores**ALPHA * (1 - targets)**BETA
    total = torch.where(positive, gain, cost).sum()
    return -total / positive.sum().clamp_min(1)


def box_losses(boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """GIoU and L1 losses of the predicted boxes."""
    targets = targets.clamp(0, 1)
    return (generalized_box_iou_loss(boxes, targets, reduction='mean'),
            F.l1_loss(boxes, targets))
