from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmlowformer import LowFormer, get_config, get_config_path
from mmlowformer.configs import config_folder

DETECTION = [f'retinanet_lowformer_{arch}_coco'
             for arch in LowFormer.arch_settings]


def test_every_config_is_known():
    names = {path.stem for path in config_folder().glob('*.py')}
    assert names == {*DETECTION, 'retinanet_lowformer_b0_shapes'}


def test_found_with_and_without_suffix():
    path = get_config_path('retinanet_lowformer_b2_coco')
    assert Path(path).is_file()
    assert get_config_path('retinanet_lowformer_b2_coco.py') == path
    cfg = get_config('retinanet_lowformer_b2_coco')
    assert cfg.model.backbone.arch == 'b2'


def test_unknown_config_names_similar_ones():
    with pytest.raises(FileNotFoundError, match='retinanet_lowformer_b2_coco'):
        get_config_path('retinanet_lowformer_b2')
    with pytest.raises(FileNotFoundError, match='There are: retinanet'):
        get_config_path('xyz')


@pytest.mark.parametrize('path', sorted(config_folder().rglob('*.py')),
                         ids=lambda path: path.stem)
def test_bases_are_our_own(path):
    text = path.read_text()
    assert '::' not in text
    assert 'pretrained=' not in text


def detection_sample(height, width):
    instances = InstanceData(
        bboxes=torch.tensor([[4., 4., 40., 40.]]), labels=torch.tensor([3]))
    shape = (height, width)
    return DetDataSample(gt_instances=instances, metainfo=dict(
        img_shape=shape, ori_shape=shape, pad_shape=shape,
        batch_input_shape=shape, scale_factor=(1., 1.)))


@pytest.mark.parametrize('name', DETECTION)
def test_retinanet(name):
    init_default_scope('mmdet')
    cfg = get_config(name)
    assert cfg.default_scope == 'mmdet'
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=16)
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
    assert cfg.train_cfg.max_epochs == 12
    model = MODELS.build(cfg.model)
    data = dict(inputs=[torch.randint(0, 255, (3, 64, 96)).byte()],
                data_samples=[detection_sample(64, 96)])
    data = model.data_preprocessor(data, training=True)
    losses = model(**data, mode='loss')
    total = sum(sum(losses[key]) for key in ('loss_cls', 'loss_bbox'))
    total.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    model.eval()
    with torch.no_grad():
        predictions = model(**data, mode='predict')
    assert predictions[0].pred_instances.bboxes.shape[1] == 4
    strides = [stride[0] for stride in model.bbox_head.prior_generator.strides]
    assert strides == [8, 16, 32, 64, 128]
