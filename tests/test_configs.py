import re
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.testing import demo_mm_inputs, demo_track_inputs
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from mmlowformer import LowFormer, get_config, get_config_path
from mmlowformer.config.loading import config_folder, dicts_in, kind_of
from mmlowformer.utils.checkpoint_schemes import published_weights

# Other tests run the same lines of mmlowformer, and measuring takes long.
pytestmark = pytest.mark.no_cover
DETECTION, SEGMENTATION, CLASSIFICATION = (
    [name.format(arch) for arch in LowFormer.arch_settings] for name in
    ('retinanet_lowformer_{}_coco', 'fpn_lowformer_{}_ade20k',
     'lowformer_{}_in1k'))
# Their tests run the tools.
OTHERS = ('retinanet_lowformer_b0_shapes', 'fpn_lowformer_b0_shapes',
          'lowformer_b0_shapes', 'lowformer_b1_transfer',
          'lowformer_b1_retrieval', 'track_lowformer_tiny_shapes',
          'bytetrack_lowformer_b0_shapes')
MANY_OBJECTS = ('bytetrack_lowformer_b1_mot17', 'ocsort_lowformer_b1_mot17')
TRACKERS = ('track_lowformer_b0_got10k', 'track_lowformer_b1_got10k',
            'track_lowformer_b15_got10k', 'track_lowformer_e2_got10k',
            'track_lowformer_b15_mixed')
# These need data: config/test_variables.py.
CUSTOM = ('retinanet_lowformer_b0_custom', 'fpn_lowformer_b0_custom',
          'lowformer_b0_custom')
DEPLOYED = ('retinanet_lowformer_b1_deploy_coco',
            'fpn_lowformer_b1_deploy_ade20k', 'lowformer_b1_deploy_in1k')

ABLATIONS = ('lowformer_b1_unfused_in1k', 'lowformer_b1_no_attention_in1k',
             'lowformer_b1_relu_linear_attention_in1k',
             'lowformer_b1_full_resolution_in1k')


def test_every_config_is_known():
    names = {path.stem for path in config_folder().glob('*.py')}
    assert names == {*DETECTION, *SEGMENTATION, *CLASSIFICATION, *OTHERS,
                     *CUSTOM, *DEPLOYED, *ABLATIONS, *TRACKERS,
                     *MANY_OBJECTS, *SCRATCH}


def test_found_with_and_without_suffix():
    path = get_config_path('retinanet_lowformer_b2_coco')
    assert Path(path).is_file()
    assert get_config_path('retinanet_lowformer_b2_coco.py') == path
    cfg = get_config('retinanet_lowformer_b2_coco')
    assert cfg.model.backbone.arch == 'b2'


def test_unknown_config_names_similar_ones():
    with pytest.raises(FileNotFoundError, match='retinanet_lowformer_b2_coco'):
        get_config_path('retinanet_lowformer_b2')
    with pytest.raises(FileNotFoundError, match='There are: bytetrack_lowf'):
        get_config_path('xyz')


@pytest.mark.parametrize('path', sorted(config_folder().rglob('*.py')),
                         ids=lambda path: path.stem)
def test_bases_are_our_own(path):
    text = path.read_text()
    assert not re.search(r'\w::\w', text)
    assert 'pretrained=' not in text


def detection_sample(height, width):
    instances = InstanceData(
        bboxes=torch.tensor([[4., 4., 40., 40.]]), labels=torch.tensor([3]))
    shape = (height, width)
    return DetDataSample(gt_instances=instances, metainfo=dict(
        img_shape=shape, ori_shape=shape, pad_shape=shape,
        batch_input_shape=shape, scale_factor=(1., 1.)))


def step_and_predict(model, samples):
    """One training step that reaches every parameter, and a prediction."""
    data = dict(inputs=[torch.randint(0, 255, (3, 64, 96)).byte()
                        for _ in samples], data_samples=samples)
    training = model.data_preprocessor(data, training=True)
    total, _ = model.parse_losses(model(**training, mode='loss'))
    total.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    return model.eval().test_step(data)


@pytest.mark.parametrize('name', DETECTION)
def test_retinanet(name):
    init_default_scope('mmdet')
    cfg = get_config(name)
    assert cfg.default_scope == 'mmdet'
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=16)
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
    assert cfg.train_cfg.max_epochs == 12
    model = MODELS.build(cfg.model)
    predictions = step_and_predict(model, [detection_sample(64, 96)])
    assert predictions[0].pred_instances.bboxes.shape[1] == 4
    strides = [stride[0] for stride in model.bbox_head.prior_generator.strides]
    assert strides == [8, 16, 32, 64, 128]


@pytest.mark.parametrize('name', SEGMENTATION)
def test_semantic_fpn(name):
    init_default_scope('mmseg')
    cfg = get_config(name)
    assert cfg.default_scope == 'mmseg'
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=32)
    assert cfg.optim_wrapper.optimizer.lr == 2e-4
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[0].end == 40000
    shape = cfg.model.data_preprocessor.size = (64, 96)
    model = MODELS.build(cfg.model)
    samples = [
        SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape),
                      gt_sem_seg=PixelData(data=torch.randint(
                          0, 150, (1, *shape)))) for _ in range(2)]
    predictions = step_and_predict(model, samples)
    assert predictions[0].pred_sem_seg.data.shape == (1, *shape)
    assert model.decode_head.conv_seg.out_channels == 150


@pytest.mark.parametrize('name', CLASSIFICATION)
def test_classification(name):
    init_default_scope('mmpretrain')
    cfg = get_config(name)
    assert cfg.default_scope == 'mmpretrain'
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == 320
    # The published 1e-3 for 512 and 1024, and 3e-3 for 2400 images.
    recipe = cfg.optim_wrapper.optimizer.lr, cfg.auto_scale_lr.base_batch_size
    assert recipe in ((1e-3, 512), (1e-3, 1024), (3e-3, 2400))
    assert cfg.train_dataloader.batch_size * 8 == recipe[1]
    predictions = step_and_predict(
        MODELS.build(cfg.model),
        [DataSample().set_gt_label(label) for label in (3, 999)])
    assert predictions[0].pred_score.shape == (1000, )


@pytest.mark.parametrize('name', CLASSIFICATION)
def test_mixed_labels_give_a_mean_over_classes(name):
    """MMPreTrain sums binary cross-entropies; the recipe averages them."""
    init_default_scope('mmpretrain')
    loss = MODELS.build(get_config(name).model.head.loss)
    scores, target = torch.randn(2, 1000), torch.zeros(2, 1000)
    target[0, 3], target[1, 5], target[1, 7] = 1, 0.4, 0.6
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        scores, target * 0.9 + 0.1 / 1000)
    torch.testing.assert_close(loss(scores, target, avg_factor=2), expected)


SCRATCH = ('retinanet_lowformer_b1_scratch_coco', )


@pytest.mark.parametrize('path', [
    path for path in sorted(config_folder().glob('*.py'))
    if path.stem not in CUSTOM], ids=lambda path: path.stem)
def test_starts_from_imagenet(path):
    """All but ImageNet's and small configs, if weights were published."""
    backbone, = [part for _, part in dicts_in(get_config(path.stem).model)
                 if kind_of(part) == 'LowFormer']
    from_scratch = (path.stem in SCRATCH or backbone.arch == 'b2'
                    or path.stem.endswith(('_in1k', '_shapes')))
    assert backbone.get('init_cfg') == (None if from_scratch else dict(
        type='Pretrained', checkpoint=published_weights(backbone.arch)))


def test_configs_of_b2_say_that_no_weights_were_published():
    for path in config_folder().glob('*_b2_*.py'):
        text = ' '.join(path.read_text().replace('#', '').split())
        assert 'No weights of b2 were published' in text
        assert '--weights work_dirs/lowformer_b2_in1k/epoch_320.pth' in text


def test_from_scratch():
    """A longer schedule, and normalization in all parts."""
    init_default_scope('mmdet')
    cfg = get_config(SCRATCH[0])
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == 72
    model = MODELS.build(cfg.model)
    step_and_predict(model, [detection_sample(64, 96)])
    for part in (model.neck, model.bbox_head.cls_convs):
        kinds = {type(module).__name__ for module in part.modules()}
        assert 'GroupNorm' in kinds


@pytest.mark.parametrize('name', DEPLOYED)
def test_deployed(name):
    cfg, plain = get_config(name), get_config(name.replace('_deploy', ''))
    hooks = plain.get('custom_hooks') or []
    assert cfg.custom_hooks == [*hooks, dict(type='mmlowformer.DeployHook')]
    assert cfg.model == plain.model


@pytest.mark.parametrize('name', ABLATIONS)
def test_ablations(name):
    """They are b1's config but for the backbone."""
    cfg, plain = get_config(name), get_config('lowformer_b1_in1k')
    arch = name.removeprefix('lowformer_').removesuffix('_in1k')
    assert cfg.model.backbone == dict(plain.model.backbone, arch=arch,
                                      init_cfg=None)
    cfg.model.backbone = plain.model.backbone
    assert cfg.to_dict() == plain.to_dict()
    text = Path(get_config_path(name)).read_text()
    two_at_once = ABLATIONS.index(name) in (0, 2)
    assert ('changes two' in ' '.join(text.split())) == two_at_once


@pytest.mark.parametrize('name', TRACKERS)
def test_trackers(name):
    """The authors' recipe, and a step that reaches all of the network."""
    init_default_scope('mmlowformer')
    cfg = get_config(name)
    assert cfg.default_scope == 'mmlowformer'
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=128)
    assert cfg.optim_wrapper.optimizer.lr == 4e-4
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.1
    assert cfg.train_cfg.max_epochs == 300
    assert cfg.train_dataloader.dataset.length == 60000
    cut = next(step for step in cfg.train_dataloader.dataset.pipeline
               if step.type == 'mmlowformer.PairCrop')
    sizes = cfg.model.search_size, cfg.model.template_size
    assert (cut.search_size, cut.template_size) == sizes
    model = MODELS.build(cfg.model)
    images = dict(
        template=[torch.randint(0, 255, (3, 112, 112)).byte()] * 2,
        search=[torch.randint(0, 255, (3, 224, 224)).byte()] * 2)
    samples = [BaseDataElement(gt_box=torch.tensor([0.3, 0.4, 0.5, 0.7]))] * 2
    total, _ = model.parse_losses(model(**model.data_preprocessor(
        dict(inputs=images, data_samples=samples), True), mode='loss'))
    total.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize('name', MANY_OBJECTS)
def test_many_objects(name):
    """MMDetection's trackers over a RetinaNet, which alone is trained."""
    init_default_scope('mmdet')
    cfg = get_config(name)
    assert cfg.default_scope == 'mmdet'
    assert cfg.test_dataloader.dataset.ann_file == (
        'annotations/half-val_cocoformat.json')
    model = MODELS.build(cfg.model)
    assert type(model).__name__.lower() == name.split('_')[0]
    assert model.detector.bbox_head.num_classes == 1
    # Alone, it is normalized as it is in the tracker.
    for key in ('mean', 'std', 'bgr_to_rgb', 'pad_size_divisor'):
        assert (cfg.model.detector.data_preprocessor[key]
                == cfg.model.data_preprocessor[key])
    if name == MANY_OBJECTS[0]:
        data = demo_mm_inputs(1, (3, 64, 96), num_items=[2], num_classes=2)
        data['data_samples'][0].gt_instances.labels.zero_()
        losses = model.train_step(data, build_optim_wrapper(
            model, cfg.optim_wrapper))
        assert losses['loss'].isfinite()
    model.eval()
    with torch.no_grad():
        result, = model.test_step(demo_track_inputs(
            1, 2, image_shapes=(3, 64, 96), num_items=[2]))
    assert [frame.pred_track_instances.bboxes.shape[1]
            for frame in result] == [4, 4]
