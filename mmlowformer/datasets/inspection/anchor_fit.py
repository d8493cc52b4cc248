"""Compare a model's anchors with the boxes of a data set."""
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torchvision.ops import box_iou

from ...config.loading import dicts_in, kind_of
from ..formats.annotations import AnnotatedImage

# Boxes that are compared with all anchors at a time.
AT_ONCE = 10_000


def against_anchors(annotated: Sequence[AnnotatedImage], cfg: Config | None
                    ) -> Iterator[tuple[str, str]]:
    """Compare boxes, resized as for the model, with its anchors."""
    scale = next((part['scale'] for _, part in
                  dicts_in(cfg.get('test_pipeline') or [])
                  if kind_of(part) == 'Resize' and part.get('scale')), None
                 ) if cfg else None
    sides = torch.from_numpy(np.fromiter(
        _sides(annotated, scale), np.dtype((np.float32, 2))))
    if not len(sides):
        return
    # torch.quantile refuses more than 16 million values.
    low, middle, high = np.quantile(sides.prod(1).sqrt().numpy(),
                                    [0.05, 0.5, 0.95])
    where = f'resized to {scale[0]}x{scale[1]}' if scale else 'not resized'
    yield ('Sizes', f'{low:.0f} to {high:.0f} pixels, median {middle:.0f} '
           f'(square root of the area, images {where})')
    anchors = cfg and _anchors(cfg)
    if anchors is not None:
        yield 'Anchors', _describe_fit(sides, anchors, cfg)


def smallest_fitting(cfg: Config) -> float:
    """Side of the smallest square box that an anchor fits, in pixels.

    Without anchors, it is two cells of the finest feature map, of stride 8.
    """
    anchors = _anchors(cfg)
    if anchors is None:
        return 16.
    return float(anchors.prod(1).min().sqrt()) * _threshold(cfg) ** 0.5


def _threshold(cfg: Config) -> float:
    """IoU from which on an anchor is to predict a box."""
    assigner = (cfg.model.get('train_cfg') or {}).get('assigner', {})
    return assigner.get('pos_iou_thr', 0.5)


def _sides(annotated: Iterable[AnnotatedImage], scale: Sequence[int] | None
           ) -> Iterator[tuple[float, float]]:
    """Widths and heights of resized boxes."""
    for image in annotated:
        factor = _resize_factor(image, scale) if scale else 1.
        for item in image.annotations:
            if not item.ignored:
                left, top, right, bottom = item.box
                yield (right - left) * factor, (bottom - top) * factor


def _resize_factor(image: AnnotatedImage, scale: Sequence[int]) -> float:
    return min(max(scale) / max(image.width, image.height),
               min(scale) / min(image.width, image.height))


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


def _describe_fit(sides: torch.Tensor, anchors: torch.Tensor, cfg: Config
                  ) -> str:
    threshold = _threshold(cfg)
    # IoU of boxes and anchors that share their center.
    centered = torch.cat([-anchors / 2, anchors / 2], 1)
    best = torch.cat([
        box_iou(torch.cat([-part / 2, part / 2], 1), centered).amax(1)
        for part in sides.split(AT_ONCE)])
    spans = anchors.prod(1).sqrt()
    lost = sides[best < threshold].prod(1).sqrt()
    small = int((lost < spans.min()).sum())
    large = int((lost > spans.max()).sum())
    text = (f'{spans.min():.0f} to {spans.max():.0f} pixels; '
            f'{(best >= threshold).float().mean():.0%} of the boxes have an '
            f'anchor with an IoU of at least {threshold:g}')
    for count, problem in (
            (small, 'are too small: a larger image_size, or tiles'),
            (large, 'are too large: a smaller image_size'),
            (len(lost) - small - large,
             'are too long or flat: other anchor ratios')):
        if count:
            text += f', {count} {problem}'
    return text
