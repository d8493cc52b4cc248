"""The loss of segmentation heads in chunks equals MMSegmentation's."""
import copy

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead, PointHead
from mmseg.structures import SegDataSample

from mmlowformer.ops import chunked_loss
from mmlowformer.ops.chunked_loss import chunk_losses

CLASSES = 7
CROSS_ENTROPY = dict(type='CrossEntropyLoss', loss_weight=0.4)


def make_head(**settings):
    return FCNHead(in_channels=4, channels=4, num_classes=CLASSES,
                   norm_cfg=dict(type='BN'),
                   **dict(dict(loss_decode=CROSS_ENTROPY), **settings))


def losses_of(head, logits, labels):
    """Losses, and the gradient of the loss."""
    logits = logits.clone(memory_format=torch.preserve_format
                          ).requires_grad_()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=mask[None]))
               for mask in labels]
    losses = head.loss_by_feat(logits, samples)
    gradient, = torch.autograd.grad(losses['loss_ce'], logits)
    return losses, gradient


def assert_equal(head, logits, labels):
    expected, expected_gradient = losses_of(head, logits, labels)
    assert chunk_losses(head) == ['']
    losses, gradient = losses_of(head, logits, labels)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value.mean())
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5,
                               atol=1e-6 * expected_gradient.abs().max())


@pytest.mark.parametrize('settings', [
    {}, dict(align_corners=True), dict(ignore_index=2),
    dict(loss_decode=dict(CROSS_ENTROPY, avg_non_ignore=True))])
@pytest.mark.parametrize(('small', 'large'), [
    ((8, 6), (32, 24)), ((5, 9), (17, 31)), ((8, 8), (8, 8)),
    ((9, 7), (5, 4))])
@pytest.mark.parametrize('format', [
    torch.contiguous_format, torch.channels_last])
def test_same_loss_and_gradient(monkeypatch, settings, small, large, format):
    """In many chunks, the last of which is smaller."""
    monkeypatch.setattr(chunked_loss, 'CHUNK', 3 * large[1] * CLASSES)
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, CLASSES, *small).contiguous(
        memory_format=format)
    labels = torch.randint(CLASSES, (2, *large))
    labels[0, 1:3] = 255
    labels[1, :, 2] = settings.get('ignore_index', 255)
    if 'ignore_index' in settings:
        labels[labels == 255] = 2
    assert_equal(make_head(**settings), logits, labels)


@pytest.mark.parametrize('average', [True, False])
def test_images_without_labeled_pixels(average):
    head = make_head(loss_decode=dict(CROSS_ENTROPY, avg_non_ignore=average))
    assert_equal(head, torch.randn(2, CLASSES, 4, 4),
                 torch.full((2, 16, 16), 255))


def test_the_scores_of_all_pixels_never_exist(monkeypatch):
    """The largest tensor that the backward pass keeps has few pixels."""
    monkeypatch.setattr(chunked_loss, 'CHUNK', 64 * CLASSES)
    head = make_head()
    chunk_losses(head)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor.numel()) or tensor,
            lambda tensor: tensor):
        losses_of(head, torch.randn(1, CLASSES, 4, 4),
                  torch.randint(CLASSES, (1, 64, 64)))
    assert max(kept) < CLASSES * 64 * 64 / 4


@pytest.mark.parametrize('settings', [
    dict(loss_decode=dict(CROSS_ENTROPY, class_weight=[1.] * CLASSES)),
    dict(loss_decode=dict(CROSS_ENTROPY, use_sigmoid=True)),
    dict(loss_decode=dict(type='FocalLoss')),
    dict(loss_decode=[CROSS_ENTROPY, dict(type='DiceLoss')]),
    dict(sampler=dict(type='OHEMPixelSampler'))])
def test_other_losses_stay(settings):
    assert chunk_losses(make_head(**settings)) == []


def test_heads_with_their_own_loss_stay():
    head = PointHead(in_channels=[4], channels=4, in_index=[0],
                     num_classes=CLASSES)
    assert chunk_losses(head) == []


def test_copies_compute_their_own_loss():
    """As of a model whose weights are averaged."""
    head = make_head()
    chunk_losses(head)
    other = copy.deepcopy(head)
    assert vars(other)['loss_by_feat'].__self__ is other
