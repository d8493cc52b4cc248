"""mmcv's operators compute the same of maps in any memory format."""
import copy
import inspect
import sys

import mmcv.ops as ops
import pytest
import torch
from mmcv.cnn.bricks.conv_ws import ConvWS2d
from mmdet.models.roi_heads import SingleRoIExtractor
from torch import nn

from mmlowformer import LowFormer, deploy
from mmlowformer.ops.mmcv_ops import _with_contiguous, needs_contiguous
from mmlowformer.ops.module_utils import to_channels_last

from ..models.test_lowformer import SMALL

ROIS = torch.tensor([[0, 2., 3., 25., 20.], [1, 0., 0., 14., 30.]])
ROTATED = torch.tensor([[0, 16., 12., 20., 10., 0.5], [1, 9., 9., 8., 8., 1.]])
MODULATED = dict(kernel_size=3, padding=1)


def masked(x):
    """Its own sampling over the maps, as psamask and CARAFE have it."""
    return ops.PSAMask('collect', (3, 5))(x[:, :15, :4, :4])


def attend(x):
    module = ops.MultiScaleDeformableAttention(
        16, num_levels=1, num_heads=2, batch_first=True)
    torch.manual_seed(1)
    nn.init.normal_(module.sampling_offsets.weight)
    values = x.flatten(2).transpose(1, 2)
    return module(values[:, :5], value=values, reference_points=torch.full(
        (2, 5, 1, 2), 0.4), spatial_shapes=torch.tensor([x.shape[2:]]),
        level_start_index=torch.tensor([0]))


# Each takes maps of 16 channels, 32 pixels high and wide, of two images.
CALLS = dict(
    attention=attend,
    attention_cross=lambda x: ops.CrissCrossAttention(16)(x),
    corner_pool=lambda x: ops.CornerPool('bottom')(x),
    deform_conv=lambda x: ops.DeformConv2dPack(16, 8, **MODULATED)(x),
    modulated_deform_conv=lambda x: ops.ModulatedDeformConv2dPack(
        16, 8, **MODULATED)(x),
    point_sample=lambda x: ops.point_sample(x, torch.rand(
        2, 9, 2, generator=torch.Generator().manual_seed(0))),
    psamask=masked,
    roi_align=lambda x: ops.RoIAlign(7, 0.5, 2)(x, ROIS),
    roi_align_function=lambda x: ops.roi_align(x, ROIS, 5),
    roi_align_max=lambda x: ops.RoIAlign(7, 0.5, 2, 'max')(x, ROIS),
    roi_align_torchvision=lambda x: ops.RoIAlign(
        7, 0.5, 2, use_torchvision=True)(x, ROIS),
    roi_align_rotated=lambda x: ops.RoIAlignRotated(5, 1., 2)(x, ROTATED),
    rotated_feature_align=lambda x: ops.rotated_feature_align(
        x, torch.rand(2, 32, 32, 5, generator=torch.Generator().manual_seed(0)
                      )),
    simple_roi_align=lambda x: ops.SimpleRoIAlign(5, 1.)(x, ROIS))


@pytest.mark.parametrize('name', CALLS)
def test_channels_last_maps(name):
    maps = torch.rand(2, 16, 32, 32)
    outputs = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        x = maps.clone(memory_format=layout).requires_grad_()
        output = CALLS[name](x)
        gradient = output.detach().square()
        if output.ndim == 4:
            gradient = gradient.contiguous(memory_format=layout)
        output.backward(gradient)
        outputs.append((output.detach(), x.grad))
    for expected, got in zip(*outputs):
        torch.testing.assert_close(got, expected)
        assert expected.abs().max() > 0


@pytest.mark.parametrize('name', ['roi_align', 'roi_align_rotated',
                                  'modulated_deform_conv', 'attention'])
def test_bfloat16(name):
    """Computed in float32, as mmcv has no kernels for it."""
    maps = torch.rand(2, 16, 32, 32).bfloat16()
    outputs = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        x = maps.to(dtype).requires_grad_()
        with torch.autocast('cpu', torch.bfloat16,
                            enabled=dtype == torch.bfloat16):
            output = CALLS[name](x)
        assert output.dtype == dtype
        output.float().square().sum().backward()
        outputs.append((output.float(), x.grad.float()))
    for expected, got in zip(*outputs):
        torch.testing.assert_close(got, expected, rtol=0.1, atol=0.05
                                   * expected.abs().max().item())


def convolution(kind):
    module = kind(16, 8, **MODULATED)
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.1)
    return module.eval()


@pytest.mark.parametrize('kind', [
    ops.DeformConv2dPack, ops.ModulatedDeformConv2dPack,
    type('Own', (ops.ModulatedDeformConv2dPack, ), {}), ConvWS2d])
def test_weights_in_channels_last(kind):
    """Those are laid out by ``module.to``, whatever it computes with."""
    module, maps = convolution(kind), torch.rand(2, 16, 9, 9)
    expected = module(maps)
    if kind is not ConvWS2d:
        torch.testing.assert_close(copy.deepcopy(module).to(
            memory_format=torch.channels_last)(maps), expected)
    to_channels_last(module)
    assert module.weight.is_contiguous()
    torch.testing.assert_close(module(maps), expected)


def functions():
    return {value for name, module in sys.modules.items()
            if name.startswith('mmcv.ops') for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, torch.autograd.Function)
            and value.__module__.startswith('mmcv.ops')}


@pytest.mark.parametrize('name', ['forward', 'backward'])
def test_all_functions_get_contiguous_tensors(monkeypatch, name):
    """Also those that only a GPU computes."""
    maps = torch.rand(1, 2, 3, 4).to(memory_format=torch.channels_last)
    rois = torch.rand(5, 3).t()
    methods = [vars(function)[name].__func__ for function in functions()
               if name in vars(function)]
    assert len(methods) > 35
    for method in methods:
        cell = dict(zip(method.__code__.co_freevars, method.__closure__))
        seen = []
        monkeypatch.setattr(
            cell['method'], 'cell_contents',
            lambda ctx, *args, seen=seen: seen.extend(args))
        method(None, maps, rois, 3)
        assert seen[0].is_contiguous(), method
        assert seen[1].is_contiguous(), method
        assert seen[2] == 3


def test_contiguous_tensors_are_not_copied():
    x = torch.rand(1, 2, 3, 4)
    assert _with_contiguous(lambda ctx, x: x)(None, x) is x


def test_layers_of_mmcv_are_told_apart():
    assert needs_contiguous(ops.RoIAlign(7))
    assert needs_contiguous(convolution(ops.DeformConv2dPack))
    assert needs_contiguous(convolution(ConvWS2d))
    assert not needs_contiguous(nn.Conv2d(1, 1, 1))


def test_regions_of_a_backbone_alone_deployed():
    """``switch_to_deploy`` makes maps channels-last, whatever reads them."""
    backbone = LowFormer(SMALL).eval()
    extractor = SingleRoIExtractor(
        dict(type='RoIAlign', output_size=7), backbone.out_channels[0],
        featmap_strides=[4])
    images = torch.rand(2, 3, 64, 64)
    rois = ROIS * torch.tensor([1., 2., 2., 2., 2.])
    with torch.no_grad():
        expected = extractor(backbone(images)[:1], rois)
        for deployed in (copy.deepcopy(backbone).switch_to_deploy(),
                         deploy(backbone)):
            maps = deployed(images)[:1]
            torch.testing.assert_close(extractor(maps, rois), expected,
                                       rtol=1e-4, atol=1e-4)
