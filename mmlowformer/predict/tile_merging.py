"""Merge the predictions for the tiles of a large image."""
from collections.abc import Iterable

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import Tensor
from torchvision.ops import batched_nms

from ..errors import UserError
from ..runtime.masks import label_dtype
from ..utils.tiles import Tile

# Two boxes of a class are one object if their IoU is higher. For a box that a
# seam cuts, the common area is divided by the smaller box instead.
SAME = 0.5
# Distance from a seam, in pixels, at which a box counts as cut.
AT_SEAM = 2


class TileMerger:
    """Merges boxes, or averages logits, of an image's tiles."""

    def __init__(self, shape: tuple[int, int], tiles: list[Tile]):
        self.shape, self.tiles = shape, tiles
        self._boxes: list[InstanceData] = []
        self._stitcher: LogitsStitcher | None = None

    def add(self, tile: Tile, sample: BaseDataElement) -> None:
        """Add the prediction for the next tile."""
        if 'pred_instances' in sample and 'masks' not in sample.pred_instances:
            self._boxes.append(self._moved(sample.pred_instances.cpu(), tile))
        elif 'seg_logits' in sample:
            logits = sample.seg_logits.data.cpu()
            if self._stitcher is None:
                self._stitcher = LogitsStitcher(
                    self.shape, self.tiles, logits.new_empty(len(logits)))
            self._stitcher.add(tile, logits)
        else:
            raise UserError('--tile-size is for boxes and semantic masks only')

    def merged(self) -> BaseDataElement:
        """Return the prediction for the whole image."""
        if self._stitcher is not None:
            return BaseDataElement(pred_sem_seg=PixelData(
                data=self._stitcher.labels[None]))
        return BaseDataElement(
            pred_instances=merge_boxes(InstanceData.cat(self._boxes)))

    def _moved(self, found: InstanceData, tile: Tile) -> InstanceData:
        """Move boxes from a tile to the image, and mark those at a seam."""
        corners = found.bboxes
        offset = corners.new_tensor([tile.left, tile.top] * 2)
        height, width = self.shape
        # A seam is an edge of the tile, but not of the image.
        near = corners.new_tensor([tile.left > 0, tile.top > 0])
        far = corners.new_tensor([tile.right < width, tile.bottom < height])
        end = corners.new_tensor([tile.right, tile.bottom]) - offset[:2]
        cut = ((corners[:, :2] < AT_SEAM) & near.bool()
               | (corners[:, 2:] > end - AT_SEAM) & far.bool()).any(1)
        return InstanceData(bboxes=corners + offset, scores=found.scores,
                            labels=found.labels, cut=cut)


def merge_boxes(found: InstanceData) -> InstanceData:
    """Keep one box for each object."""
    # Whole boxes suppress cut ones, whatever the scores are.
    ranks = found.scores - found.cut.to(found.scores)
    found = found[batched_nms(found.bboxes, ranks, found.labels, SAME)]
    kept = torch.ones(len(found), dtype=torch.bool)
    for index in found.cut.nonzero().flatten().tolist():
        same = kept[:index] & (found.labels[:index] == found.labels[index])
        covered = _covered(found.bboxes[index], found.bboxes[:index])
        kept[index] = not (same & (covered >= SAME)).any()
    return found[kept]


def _covered(box: Tensor, others: Tensor) -> Tensor:
    """Divide the common area with each other box by the smaller area."""
    corner = torch.maximum(box[:2], others[:, :2])
    opposite = torch.minimum(box[2:], others[:, 2:])
    common = (opposite - corner).clamp(min=0).prod(1)
    smaller = torch.minimum((box[2:] - box[:2]).prod(),
                            (others[:, 2:] - others[:, :2]).prod(1))
    return common / smaller.clamp(min=1e-6)


class LogitsStitcher:
    """Labels an image's pixels by the mean of its tiles' logits.

    The tiles have to come row by row. Beside the labels, the memory contains
    the sums of the logits where the next row of tiles overlaps.
    """

    def __init__(self, shape: tuple[int, int], tiles: list[Tile],
                 like: Tensor):
        if len(like) == 1:
            raise UserError('--tile-size needs a model with at least two '
                            'classes of masks')
        self.labels = np.empty(shape, label_dtype(len(like)))
        self._next_left = _followers(tile.left for tile in tiles)
        self._next_top = _followers(tile.top for tile in tiles)
        height = tiles[0].bottom - tiles[0].top
        # Rows of each row of tiles that the row above has covered, too.
        self._shared = {below: max(0, top + height - below)
                        for top, below in self._next_top.items()}
        self._above = like.new_empty(
            len(like), max(self._shared.values(), default=0), shape[1])
        self._beside = like.new_empty(len(like), height, 0)

    def add(self, tile: Tile, logits: Tensor) -> None:
        """Add the logits of the next tile."""
        columns, rows = self._beside.shape[2], self._shared.get(tile.top, 0)
        # The tile on the left has added those above in shared columns.
        logits[..., :columns] += self._beside
        logits[:, :rows, columns:] += self._above[
            :, :rows, tile.left + columns:tile.right]
        # Later tiles overwrite the labels that they share.
        self.labels[tile.top:tile.bottom, tile.left:tile.right] = (
            logits.max(0).indices.numpy())  # Faster than argmax.
        left = self._next_left.get(tile.left, tile.right)
        top = self._next_top.get(tile.top, tile.bottom)
        self._beside = logits[..., left - tile.left:].clone()
        self._above[:, :max(0, tile.bottom - top), tile.left:left] = logits[
            :, top - tile.top:, :left - tile.left]


def _followers(starts: Iterable[int]) -> dict[int, int]:
    """The next larger one of each but the largest."""
    ordered = sorted(set(starts))
    return dict(zip(ordered, ordered[1:]))
