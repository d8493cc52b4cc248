"""Whether a model's anchors fit the boxes of a data set."""
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torchvision.ops import box_iou

from ..config.loading import dicts_in, kind_of
from .formats.annotations import Picture


def against_anchors(pictures: Sequence[Picture], cfg: Config | None
                    ) -> list[tuple[str, str]]:
    """Compare boxes, as large as the model gets to see them, with anchors."""
    scale = cfg and _test_scale(cfg)
    sides = torch.tensor([
        [(shape.box[2] - shape.box[0]) * times,
         (shape.box[3] - shape.box[1]) * times]
        for picture in pictures
        for times in [_times(picture, scale) if scale else 1.]
        for shape in picture.shapes if not shape.ignored])
    if not len(sides):
        return []
    spans = sides.prod(1).sqrt()
    few, half, most = spans.quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
    where = f'resized to {scale[0]}x{scale[1]}' if scale else 'as they are'
    lines = [('Sizes', f'{few:.0f} to {most:.0f} pixels, half below '
              f'{half:.0f} (root of the area, images {where})')]
    anchors = cfg and _anchors(cfg)
    if anchors is not None:
        lines.append(('Anchors', _fit(sides, anchors, cfg)))
    return lines


def _times(picture: Picture, scale: Sequence[int]) -> float:
    return min(max(scale) / max(picture.width, picture.height),
               min(scale) / min(picture.width, picture.height))


def _test_scale(cfg: Config) -> Sequence[int] | None:
    for _, part in dicts_in(cfg.get('test_pipeline') or []):
        if kind_of(part) == 'Resize' and part.get('scale'):
            return part['scale']
    return None


def _anchors(cfg: Config) -> torch.Tensor | None:
    """Widths and heights, ``(n, 2)``."""
    head = cfg.model.get('bbox_head') or {}
    generator = head.get('anchor_generator')
    if not generator:
        return None
    from mmdet.registry import TASK_UTILS
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = TASK_UTILS.build(generator)
    corners = torch.cat(built.base_anchors)
    return corners[:, 2:] - corners[:, :2]


def _fit(sides: torch.Tensor, anchors: torch.Tensor, cfg: Config) -> str:
    least = (cfg.model.get('train_cfg') or {}).get('assigner', {}).get(
        'pos_iou_thr', 0.5)
    # Of boxes and anchors that share their centre.
    best = box_iou(torch.cat([-sides / 2, sides / 2], 1),
                   torch.cat([-anchors / 2, anchors / 2], 1)).amax(1)
    spans = anchors.prod(1).sqrt()
    lost = sides[best < least].prod(1).sqrt()
    small = int((lost < spans.min()).sum())
    large = int((lost > spans.max()).sum())
    text = (f'{spans.min():.0f} to {spans.max():.0f} pixels; '
            f'{(best >= least).float().mean():.0%} of the boxes have one that '
            f'overlaps by {least:g}')
    if small:
        text += f', {small} are too small: a larger image_size, or tiles'
    if large:
        text += f', {large} are too large: a smaller image_size'
    if len(lost) > small + large:
        text += f', {len(lost) - small - large} are too long or flat: other '
        text += 'ratios of the anchors'
    return text
