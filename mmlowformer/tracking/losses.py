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
    """Where the centres of objects are, with a Gaussian around each.

    Args:
        boxes (Tensor): ``(N, 4)``, corners as fractions of the region.
        size (int): Height and width of a map.

    Returns:
        Tensor: ``(N, 1, size, size)``, 1 at the centre.
    """
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
    """The cells of a map at the centres of boxes.

    Args:
        boxes (Tensor): ``(N, 4)``, corners as fractions of the region.
        size (int): Height and width of the map.

    Returns:
        Tensor: ``(N, 2)``, column and row.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * size
    return centres.round().long().clamp(0, size - 1)


def gaussian_radius(width: Tensor, height: Tensor) -> Tensor:
    """How far corners may move; CornerNet's way, with its well-known slip.

    The roots are divided by 2 instead of by twice the leading coefficient,
    as in all trackers that descend from it.

    Args:
        width (Tensor): In cells.
        height (Tensor): In cells.

    Returns:
        Tensor: In cells.
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
    """CornerNet's focal loss, over the number of positive cells.

    Args:
        scores (Tensor): Predicted, between 0 and 1.
        targets (Tensor): Of :func:`heat_maps`, in the same shape.

    Returns:
        Tensor: The loss.
    """
    positive = targets > POSITIVE
    gain = torch.log(scores) * (1 - scores)**ALPHA
    cost = torch.log(1 - scores) * scores**ALPHA * (1 - targets)**BETA
    total = torch.where(positive, gain, cost).sum()
    return -total / positive.sum().clamp_min(1)


def box_losses(boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """How far predicted boxes are from the true ones.

    Args:
        boxes (Tensor): ``(N, 4)``, corners as fractions of the region.
        targets (Tensor): ``(N, 4)``; what is outside of the region does not
            count.

    Returns:
        tuple[Tensor, Tensor]: Generalized IoU loss, and the mean distance of
        the corners.
    """
    targets = targets.clamp(0, 1)
    return (generalized_box_iou_loss(boxes, targets, reduction='mean'),
            F.l1_loss(boxes, targets))
