"""Whole models of all libraries have the same outputs when deployed."""
import copy
import io
import warnings

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import mmlowformer
from mmlowformer import LowFormer, get_config
from mmlowformer.deployment import deploy as whole
from mmlowformer.deployment import deployed_part as parts
from mmlowformer.deployment.deploy import deployed_forwards
from mmlowformer.deployment.tracing import run_network
from mmlowformer.errors import UserError
from mmlowformer.ops.packed_conv import PackedConv2d
from mmlowformer.ops.winograd_conv import WinogradConv2d
from mmlowformer.utils.tensors import tensors_in

from ..models.test_lowformer import SMALL
from .test_bn_folding import randomise

OWN = ('retinanet_lowformer_b0_shapes', 'fpn_lowformer_b0_shapes',
       'lowformer_b0_shapes')
# Without a LowFormer in them.
RESNET = dict(type='ResNet', depth=18, norm_eval=False, num_stages=4)
FOREIGN = dict(
    mmdet=dict(
        type='RetinaNet', backbone=RESNET,
        neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=32,
                  num_outs=5, norm_cfg=dict(type='BN')),
        bbox_head=dict(
            type='RetinaSepBNHead', num_classes=3, num_ins=5, in_channels=32,
            feat_channels=32, stacked_convs=2, norm_cfg=dict(type='BN'),
            anchor_generator=dict(
                type='AnchorGenerator', octave_base_scale=4,
                scales_per_octave=1, ratios=[1.], strides=[8, 16, 32, 64,
                                                           128]),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True)),
        train_cfg=dict(assigner=dict(
            type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)),
        test_cfg=dict()),
    mmseg=dict(
        type='EncoderDecoder',
        backbone=dict(type='ResNetV1c', depth=18, norm_cfg=dict(type='BN')),
        decode_head=dict(
            type='FCNHead', in_channels=512, in_index=3, channels=32,
            num_classes=4, norm_cfg=dict(type='BN')),
        auxiliary_head=dict(
            type='FCNHead', in_channels=256, in_index=2, channels=32,
            num_classes=4, norm_cfg=dict(type='BN')),
        test_cfg=dict(mode='whole')),
    mmpretrain=dict(
        type='ImageClassifier',
        backbone=dict(type='RepVGG', arch='A0'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=1280)))


def build(scope, model):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(scope):
        return randomise(MODELS.build(copy.deepcopy(model)))


def build_config(name):
    cfg = get_config(name)
    return build(cfg.default_scope, dict(cfg.model))


def outputs_of(model, x):
    with torch.no_grad():
        return [output.clone() for output in tensors_in(run_network(model, x))]


def largest_error(outputs, expected):
    return max(((output - target).abs().max() / target.abs().max()).item()
               for output, target in zip(outputs, expected, strict=True))


def norms_in(model):
    return [name for name, module in model.named_modules()
            if isinstance(module, _BatchNorm)]


@pytest.fixture(scope='module')
def detector_model():
    return build_config(OWN[0])


@pytest.mark.parametrize('name', OWN)
def test_own_models(name):
    model = build_config(name)
    state = copy.deepcopy(model.state_dict())
    deployed = mmlowformer.deploy(model)
    for size in ((96, 128), (65, 150)):
        x = torch.randn(2, 3, *size)
        outputs, expected = outputs_of(deployed, x), outputs_of(model, x)
        assert largest_error(outputs, expected) <= 1e-5
        assert not torch.equal(outputs[0], expected[0])
    assert not norms_in(deployed)
    # The model itself is what it was.
    assert norms_in(model)
    assert all(torch.equal(value, state[key])
               for key, value in model.state_dict().items())


@pytest.mark.parametrize('scope', FOREIGN)
def test_models_without_a_lowformer(scope):
    model = build(scope, FOREIGN[scope])
    deployed = mmlowformer.deploy(model)
    x = torch.randn(1, 3, 128, 96)
    assert largest_error(outputs_of(deployed, x),
                         outputs_of(model, x)) <= 1e-5
    # What shares a convolution keeps its norms; the auxiliary head, which
    # predicts nothing, has not been seen.
    assert all(name.startswith(('bbox_head', 'auxiliary_head'))
               for name in norms_in(deployed))


def test_networks_that_are_no_models():
    backbone = randomise(LowFormer(SMALL))
    assert isinstance(mmlowformer.deploy(backbone), LowFormer)
    block = randomise(nn.Sequential(ConvModule(
        4, 64, 3, padding=1, norm_cfg=dict(type='BN'))))
    deployed = mmlowformer.deploy(block)
    x = torch.randn(1, 4, 20, 20)
    assert largest_error(outputs_of(deployed, x), outputs_of(block, x)) <= 1e-5
    assert not norms_in(deployed)


def test_wide_convolutions_go_by_winograd(detector_model, monkeypatch):
    monkeypatch.setattr(whole, 'use_winograd_by_measurement',
                        lambda *size: True)
    deployed = mmlowformer.deploy(detector_model)
    found = [module for module in deployed.bbox_head.modules()
             if isinstance(module, WinogradConv2d)]
    assert len(found) == 6
    x = torch.randn(1, 3, 64, 64)
    # Shared by five levels.
    assert largest_error(outputs_of(deployed, x),
                         outputs_of(detector_model, x)) <= 1e-5
    assert all(conv._kernels is not None for conv in found)


def test_constants_decide_if_told_so(detector_model, monkeypatch):
    monkeypatch.setattr(whole, 'use_winograd_by_measurement', None)
    deployed = mmlowformer.deploy(detector_model, measure=False)
    # The head has 64 channels here.
    assert not [module for module in deployed.bbox_head.modules()
                if isinstance(module, WinogradConv2d)]
    assert [module for module in deployed.backbone.modules()
            if isinstance(module, WinogradConv2d)]


def test_in_bfloat16(detector_model):
    with warnings.catch_warnings():
        # Whether the CPU has it does not matter here.
        warnings.simplefilter('ignore')
        deployed = mmlowformer.deploy(detector_model, dtype='bf16')
    x = torch.randn(1, 3, 64, 64)
    outputs, expected = outputs_of(deployed, x), outputs_of(detector_model, x)
    assert {output.dtype for output in outputs} == {torch.float32}
    assert 1e-4 < largest_error(outputs, expected) <= 0.1
    parts = deployed.backbone, deployed.neck, deployed.bbox_head
    assert {parameter.dtype for part in parts
            for parameter in part.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(('capabilities', 'imitated'),
                         [({'avx512_bf16': True}, False), ({}, True)])
def test_imitated_types_are_told(monkeypatch, capabilities, imitated):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: capabilities,
                        raising=False)
    model = nn.Sequential(nn.Conv2d(3, 4, 1)).eval()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        mmlowformer.deploy(model, dtype=torch.bfloat16)
    told = [str(warning.message) for warning in caught
            if 'has no instructions for' in str(warning.message)]
    assert len(told) == imitated


def test_unknown_type(detector_model):
    with pytest.raises(UserError, match='int8 .* fp32, bf16, fp16'):
        mmlowformer.deploy(detector_model, dtype='int8')


def test_copies_of_deployed_models(detector_model):
    """They compute with weights of their own, also from a file."""
    deployed = mmlowformer.deploy(detector_model)
    x = torch.randn(1, 3, 64, 64)
    before = outputs_of(deployed, x)
    twin = copy.deepcopy(deployed)
    with torch.no_grad():
        for parameter in twin.bbox_head.parameters():
            parameter.zero_()
    assert all(torch.equal(*pair) for pair in
               zip(outputs_of(deployed, x), before))
    assert all(not output.any() for output in outputs_of(twin, x))
    file = io.BytesIO()
    torch.save(deployed.state_dict(), file)
    assert not [key for key in deployed.state_dict() if 'running' in key]


def test_training_is_refused(detector_model):
    with pytest.raises(RuntimeError, match='RetinaNet is in training mode'):
        mmlowformer.deploy(copy.deepcopy(detector_model).train())
    deployed = mmlowformer.deploy(detector_model)
    assert deployed.eval() is deployed
    with pytest.raises(RuntimeError, match='cannot be trained'):
        deployed.train()


def test_wrong_outputs_are_not_returned(detector_model, monkeypatch):
    def scale(model, images):
        with torch.no_grad():
            model.neck.lateral_convs[0].conv.weight.mul_(1.1)

    monkeypatch.setattr(whole, 'fold_batch_norms', scale)
    with pytest.raises(RuntimeError, match='neck would have other outputs'):
        mmlowformer.deploy(detector_model)


class Levels(nn.Module):
    """Two levels of maps, one of which a deployed copy gets wrong."""

    def __init__(self, wrong=lambda x: x, right=lambda x: x):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.wrong, self.right = wrong, right

    def forward(self, x):
        x = self.conv(x)
        second = self.right if x.is_contiguous() else self.wrong
        return x, second(x), x[:0]


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 2.])
def test_wrong_outputs_behind_right_ones(value):
    with pytest.raises(RuntimeError, match='would have other outputs'):
        mmlowformer.deploy(Levels(lambda x: x * value).eval(), measure=False)
    assert mmlowformer.deploy(Levels().eval(), measure=False)


@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_what_is_not_finite_stays_so(value):
    def mask(x):
        first = torch.tensor([True, False, False, False])[:, None, None]
        return x.masked_fill(first, float(value))

    assert mmlowformer.deploy(Levels(mask, mask).eval(), measure=False)
    with pytest.raises(RuntimeError, match='would have other outputs'):
        mmlowformer.deploy(Levels(right=mask).eval(), measure=False)


def test_a_part_that_takes_views():
    """Named, with what to do: it cannot do with channels-last maps."""
    model = Levels(lambda x: x.view(len(x), -1)).eval()
    with pytest.raises(UserError, match='the model cannot be .*view.*alone'):
        mmlowformer.deploy(model, measure=False)


def test_a_model_that_does_not_run(detector_model):
    model = copy.deepcopy(detector_model)
    model.neck = nn.Linear(3, 3)
    with pytest.raises(UserError, match='fails on images .* example'):
        mmlowformer.deploy(model)


def test_a_model_without_parts():
    class Says(BaseModel):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, inputs, data_samples=None, mode='tensor'):
            return 'nothing'

    with pytest.raises(UserError, match='nothing to deploy'):
        mmlowformer.deploy(Says().eval())
    with pytest.raises(UserError, match='has no weights'):
        mmlowformer.deploy(nn.ReLU().eval())


@pytest.mark.slow
def test_compiled():
    model = randomise(LowFormer(SMALL))
    x = torch.randn(1, 3, 64, 96)
    torch._dynamo.reset()
    deployed = mmlowformer.deploy(model, compile=True, example=x)
    assert list(deployed_forwards(deployed)) == ['']
    # A copy is compiled anew, with weights of its own.
    for network in (deployed, copy.deepcopy(deployed)):
        assert largest_error(outputs_of(network, x),
                             outputs_of(model, x)) <= 1e-5


def test_compiled_in_no_time(monkeypatch):
    """The way from compile=True to torch.compile, without a compiler."""
    compiled, settings = [], []

    def compile_nothing(function, **kwargs):
        compiled.append(kwargs)

        def call(*inputs):
            config = torch._inductor.config
            settings.append((config.freezing, config.cpp_wrapper))
            return function(*inputs)

        return call

    monkeypatch.setattr(torch, 'compile', compile_nothing)
    model = randomise(LowFormer(SMALL))
    deployed = mmlowformer.deploy(model, compile=True)
    assert not compiled
    before = torch._inductor.config.freezing
    x = torch.randn(1, 3, 64, 64)
    for _ in range(2):
        assert largest_error(outputs_of(deployed, x),
                             outputs_of(model, x)) <= 1e-5
    assert compiled == [dict(dynamic=False)]
    assert set(settings) == {(True, True)}
    assert torch._inductor.config.freezing == before


@pytest.mark.parametrize('faster', ['compiled', 'eager'])
def test_what_is_faster_is_kept(monkeypatch, faster):
    """Asked once for each size of maps, not where it has to be the same."""
    timed, called = [], []
    monkeypatch.setattr(torch, 'compile', lambda forward, **kwargs: (
        lambda *inputs: (called.append('compiled'), forward(*inputs))[1]))
    monkeypatch.setattr(parts, 'best_times', lambda ways, prepare: (
        timed.append(list(ways)), {way: way != faster for way in ways})[1])
    deployed = mmlowformer.deploy(randomise(LowFormer(SMALL)), compile=True)
    forgotten = []
    monkeypatch.setattr(PackedConv2d, 'clear_packed',
                        lambda conv: forgotten.append(conv))
    for size in (64, 96, 64):
        outputs_of(deployed, torch.randn(1, 3, size, size))
    assert timed == [['eager'], ['compiled']] * 2
    assert forgotten
    called.clear()
    outputs_of(deployed, torch.randn(1, 3, 64, 64))
    assert called == ['compiled'] * (faster == 'compiled')
    monkeypatch.setattr(torch, 'are_deterministic_algorithms_enabled',
                        lambda: True)
    outputs_of(deployed, torch.randn(1, 3, 32, 32))
    assert len(timed) == 4
    assert called[-1] == 'compiled'
    monkeypatch.setattr(parts, 'MAX_SIZES', 3)
    called.clear()
    outputs_of(deployed, torch.randn(1, 3, 128, 64))
    assert not called
