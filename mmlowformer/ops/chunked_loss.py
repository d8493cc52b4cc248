"""Losses of segmentation heads in chunks that fit into a CPU's caches."""
import sys
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# Scores of a chunk: 8 MiB in float32.
CHUNK = 2**21
# MMSegmentation adds it to each divisor.
EPS = torch.finfo(torch.float32).eps


def chunk_losses(model: nn.Module) -> list[str]:
    """Let heads of MMSegmentation compute their loss in chunks.

    Returns the names of these heads: those with MMSegmentation's own loss,
    which is a cross-entropy without class weights or a sampler of pixels.
    """
    names = []
    for name, head in model.named_modules():
        if _can_chunk(head):
            vars(head)['loss_by_feat'] = MethodType(chunked_loss, head)
            names.append(name)
    return names


def _can_chunk(head: nn.Module) -> bool:
    if 'mmseg.models' not in sys.modules:
        return False
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.models.losses import CrossEntropyLoss, cross_entropy
    loss: Any = getattr(head, 'loss_decode', None)
    return (isinstance(head, BaseDecodeHead)
            and type(head).loss_by_feat is BaseDecodeHead.loss_by_feat
            and head.sampler is None
            and type(loss) is CrossEntropyLoss
            and loss.cls_criterion is cross_entropy
            and loss.reduction == 'mean' and loss.class_weight is None)


def chunked_loss(head: Any, seg_logits: Tensor, batch_data_samples: list
                 ) -> dict[str, Tensor]:
    """Compute what MMSegmentation's ``BaseDecodeHead.loss_by_feat`` does."""
    labels = head._stack_batch_gt(batch_data_samples).squeeze(1)
    total, correct = upsampled_cross_entropy(
        seg_logits, labels, head.ignore_index, head.align_corners)
    labeled = (labels != head.ignore_index).sum()
    loss = head.loss_decode
    pixels = labeled if loss.avg_non_ignore else labels.numel()
    return {loss.loss_name: loss.loss_weight * total / (pixels + EPS),
            'acc_seg': (correct + EPS) * 100 / (labeled + EPS)}


def upsampled_cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int,
                            align_corners: bool) -> tuple[Tensor, Tensor]:
    """Cross-entropy of logits that are upsampled to the size of the labels.

    Bilinear interpolation first upsamples the height, then the width of a
    few rows at a time, whose scores are computed again for the gradient. So
    the scores of all pixels never exist at once.

    Args:
        logits (Tensor): ``(N, C, h, w)``.
        labels (Tensor): ``(N, H, W)``.
        ignore_index (int): Label of pixels that do not count.
        align_corners (bool): See ``torch.nn.functional.interpolate``.

    Returns:
        tuple[Tensor, Tensor]: The sum over all pixels, and the number of
        pixels whose highest score is that of their label.
    """
    # The softmax over contiguous classes is the fastest.
    logits = logits.contiguous(memory_format=torch.channels_last)
    tall = F.interpolate(logits, (labels.shape[1], logits.shape[3]),
                         mode='bilinear', align_corners=align_corners)
    rows = tall.permute(0, 2, 3, 1).flatten(0, 1)
    count = max(1, CHUNK // (labels.shape[2] * logits.shape[1]))
    parts = [checkpoint(_loss_of_rows, *part, ignore_index, align_corners,
                        use_reentrant=False, preserve_rng_state=False)
             for part in zip(rows.split(count),
                             labels.flatten(0, 1).split(count))]
    losses, correct = zip(*parts)
    return torch.stack(losses).sum(), torch.stack(correct).sum()


def _loss_of_rows(rows: Tensor, labels: Tensor, ignore_index: int,
                  align_corners: bool) -> tuple[Tensor, Tensor]:
    """Loss and correct pixels of rows ``(R, w, C)``."""
    wide = F.interpolate(
        rows.permute(0, 2, 1).unsqueeze(2), (1, labels.shape[1]),
        mode='bilinear', align_corners=align_corners)
    scores = wide.permute(0, 2, 3, 1).flatten(0, 2)
    labels = labels.flatten()
    loss = F.cross_entropy(scores, labels, ignore_index=ignore_index,
                           reduction='sum')
    # On a CPU, faster than argmax.
    found = scores.detach().max(1).indices
    return loss, ((found == labels) & (labels != ignore_index)).sum()
