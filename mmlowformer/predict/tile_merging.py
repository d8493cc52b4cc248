"""Large images, tile by tile: what is found in tiles becomes one result."""
from collections import defaultdict

import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import Tensor
from torchvision.ops import batched_nms

from ..errors import UserError
from ..utils.tiles import Tile, tiles_of

# Boxes of a class of which one covers as much of the smaller are of one
# object, if a seam has cut one of them; others need this overlap over union.
SAME = 0.5
# A box that ends so close to a seam, in pixels, was cut by it.
AT_SEAM = 2


class Tiling:
    """How images are cut."""

    def __init__(self, size: int, overlap: float):
        if size < 32:
            raise UserError(f'tile {size}: at least 32 pixels are needed')
        if not 0 <= overlap <= 0.9:
            raise UserError(f'overlap {overlap:g} has to be between 0 and '
                            '0.9, a share of the tile')
        self.size, self.overlap = size, overlap

    def merger(self, shape: tuple[int, int]) -> 'Merger':
        """What collects the results of an image's tiles."""
        return Merger(shape, tiles_of(*shape, self.size, self.overlap))


class Merger:
    """Collects what is found in an image's tiles."""

    def __init__(self, shape: tuple[int, int], tiles: list[Tile]):
        self.shape, self.tiles = shape, tiles
        self._boxes: list[InstanceData] = []
        self._mask: Mosaic | None = None

    def add(self, tile: Tile, sample: BaseDataElement) -> None:
        """Take in what was found in a tile."""
        if 'pred_instances' in sample and 'masks' not in sample.pred_instances:
            self._boxes.append(self._moved(sample.pred_instances.cpu(), tile))
        elif 'seg_logits' in sample:
            if self._mask is None:
                self._mask = Mosaic(self.shape, self.tiles)
            self._mask.add(tile, sample.seg_logits.data.cpu())
        else:
            raise UserError('--tile is for boxes and for semantic masks; this '
                            'model predicts something else')

    def merged(self) -> BaseDataElement:
        """What is in the whole image, when all tiles were added."""
        sample = BaseDataElement()
        if self._mask is not None:
            sample.pred_sem_seg = PixelData(data=self._mask.labels[None])
        else:
            sample.pred_instances = merge_boxes(
                InstanceData.cat(self._boxes))
        return sample

    def _moved(self, found: InstanceData, tile: Tile) -> InstanceData:
        corners = found.bboxes
        offset = corners.new_tensor([tile.left, tile.top] * 2)
        height, width = self.shape
        # A seam is an edge of the tile that is none of the image.
        near = corners.new_tensor([tile.left > 0, tile.top > 0])
        far = corners.new_tensor([tile.right < width, tile.bottom < height])
        end = corners.new_tensor([tile.right, tile.bottom]) - offset[:2]
        cut = ((corners[:, :2] < AT_SEAM) & near.bool()
               | (corners[:, 2:] > end - AT_SEAM) & far.bool()).any(1)
        return InstanceData(bboxes=corners + offset, scores=found.scores,
                            labels=found.labels, cut=cut)


def merge_boxes(found: InstanceData) -> InstanceData:
    """Leave one box for each object."""
    # Whole boxes come first, whatever their scores are.
    ranks = found.scores - found.cut.to(found.scores)
    found = found[batched_nms(found.bboxes, ranks, found.labels, SAME)]
    kept = torch.ones(len(found), dtype=torch.bool)
    for index in found.cut.nonzero().flatten().tolist():
        # A piece goes if a box before it, which is whole or surer, covers it.
        same = kept[:index] & (found.labels[:index] == found.labels[index])
        covered = _covered(found.bboxes[index], found.bboxes[:index])
        kept[index] = not (same & (covered >= SAME)).any()
    return found[kept]


def _covered(box: Tensor, others: Tensor) -> Tensor:
    """Common area with each of other boxes, over that of the smaller."""
    corner = torch.maximum(box[:2], others[:, :2])
    opposite = torch.minimum(box[2:], others[:, 2:])
    common = (opposite - corner).clamp(min=0).prod(1)
    smaller = torch.minimum((box[2:] - box[:2]).prod(),
                            (others[:, 2:] - others[:, :2]).prod(1))
    return common / smaller.clamp(min=1e-6)


class Mosaic:
    """Labels of an image's pixels, from the mean of its tiles' logits.

    Of a tile's logits only those are kept that later tiles lie over.
    """

    def __init__(self, shape: tuple[int, int], tiles: list[Tile]):
        self.labels = torch.zeros(shape, dtype=torch.int64)
        self._later = list(tiles)
        self._given: dict[Tile, list[tuple[Tile, Tensor]]] = defaultdict(list)

    def add(self, tile: Tile, logits: Tensor) -> None:
        """Take in the logits of the next tile."""
        if len(logits) == 1:
            raise UserError('--tile needs masks of two classes at least; this '
                            'model has one')
        self._later.remove(tile)
        for other in self._later:
            part = tile.common(other)
            if part:
                self._given[other].append(
                    (part, part.cut_out(logits, tile).clone()))
        total = logits
        for part, earlier in self._given.pop(tile, ()):
            part.cut_out(total, tile).add_(earlier)
        # Where a later tile lies over this one, it decides.
        tile.cut_out(self.labels).copy_(total.argmax(0))
