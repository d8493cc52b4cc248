"""Models of MMDetection and MMSegmentation, deployed as they come."""
import logging
from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope

from mmlowformer import deploy
from mmlowformer.deployment.tracing import noise_for

DETECTORS = [
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py',
    'centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco.py',
    'vfnet/vfnet_r50_fpn_1x_coco.py',
    'reppoints/reppoints-moment_r50_fpn_1x_coco.py',
    'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py',
    'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'detr/detr_r50_8xb2-150e_coco.py',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'dyhead/atss_r50_fpn_dyhead_1x_coco.py',
    'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py']
SEGMENTORS = ['upernet/upernet_r50_4xb4-40k_voc12aug-512x512.py',
              'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py']
ROIS = torch.tensor([[0, 10., 10., 80., 90.], [0, 3., 3., 50., 40.]])


def build(library, base):
    folder = Path(import_module(library).__path__[0], '.mim', 'configs')
    cfg = Config.fromfile(folder / base)
    cfg.model.backbone.init_cfg = None
    cfg.model.pretrained = None
    with DefaultScope.overwrite_default_scope(library):
        model = revert_sync_batchnorm(MODELS.build(
            {key: value for key, value in cfg.model.items()
             if value is not None}))
    logging.disable()
    model.init_weights()
    logging.disable(logging.NOTSET)
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(('library', 'base'), [
    *(('mmdet', base) for base in DETECTORS),
    *(('mmseg', base) for base in SEGMENTORS)])
def test_deployed(library, base):
    """Deploying compares all parts; what lies between them is compared here.

    Not what is chosen among regions or queries of an untrained network, which
    are about equally likely.
    """
    model = build(library, base)
    deployed = deploy(model, measure=False)
    with torch.no_grad():
        maps, got = (network.extract_feat(noise_for(model))
                     for network in (model, deployed))
        assert_close(got, maps)
        for head, other in zip(region_heads(model), region_heads(deployed)):
            assert_close(
                other.bbox_head(other.bbox_roi_extractor(
                    got[:other.bbox_roi_extractor.num_inputs], ROIS)),
                head.bbox_head(head.bbox_roi_extractor(
                    maps[:head.bbox_roi_extractor.num_inputs], ROIS)))


def region_heads(model):
    head = getattr(model, 'roi_head', None)
    plain = hasattr(getattr(head, 'bbox_head', None), 'fc_cls')
    return [head] if plain else []


def assert_close(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()
