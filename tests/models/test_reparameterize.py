"""Deployed networks have the outputs of those they were made from."""
import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmlowformer import LowFormer, engine
from mmlowformer.models.reparameterize import ChunkedFusedMBConv, ImageNorm
from mmlowformer.ops.winograd_conv import WinogradConv2d

from ..models.test_lowformer import (
    SMALL,
    VARIANTS,
    images,
    mostly_slow,
    randomise,
)

SIZES = ((64, 64), (65, 97), (33, 250))
# Large enough for what is computed part by part.
LARGE = (490, 470)


def trained(arch, **kwargs):
    """A network whose norms and biases are those of no initialization."""
    model = randomise(LowFormer(arch, **kwargs))
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model.eval()


def largest_errors(model, other, x):
    with torch.inference_mode():
        return [((output - target).abs().max() / target.abs().max()).item()
                for output, target in zip(other(x), model(x), strict=True)]


@pytest.mark.parametrize('arch', VARIANTS)
def test_same_outputs(arch):
    model = trained(arch)
    deployed = copy.deepcopy(model).switch_to_deploy()
    for size in SIZES:
        errors = largest_errors(model, deployed, images(*size, batch=1))
        assert max(errors) <= 1e-5, (size, errors)
    kinds = [type(module) for module in deployed.modules()]
    assert not any(issubclass(kind, _BatchNorm) for kind in kinds)
    strides = {module.stride for module in deployed.modules()
               if isinstance(module, nn.ConvTranspose2d)}
    assert strides <= {(2, 2)}


@pytest.mark.parametrize('arch', mostly_slow('b1', 'b3', 'e3'))
def test_same_outputs_of_a_large_image(arch):
    model = trained(arch)
    deployed = copy.deepcopy(model).switch_to_deploy()
    assert max(largest_errors(model, deployed, images(*LARGE, 1))) <= 1e-5


def test_every_step_is_needed():
    """What is folded is not the identity."""
    model = trained('b0')
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            assert not torch.equal(module.running_mean,
                                   torch.zeros_like(module.running_mean))
    deployed = copy.deepcopy(model).switch_to_deploy()
    assert not any('.mlp.' in name for name, module
                   in deployed.named_modules()
                   if isinstance(module, nn.GroupNorm))
    assert sum(p.numel() for p in deployed.parameters()) < sum(
        p.numel() for p in model.parameters())


@pytest.mark.parametrize('size', [(64, 64), LARGE])
def test_maps_stay_channels_last(size):
    deployed = trained('b1').switch_to_deploy()
    x = images(*size, batch=1).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for output in deployed(x):
            assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def two_threads():
    """On a single one torch takes 1x1 convolutions away from oneDNN."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize('arch', ['b1', 'e1'])
@pytest.mark.usefixtures('two_threads')
def test_no_hidden_copies(arch):
    deployed = trained(arch).switch_to_deploy()
    x = images().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        deployed(x)
        with torch.profiler.profile(
                activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            deployed(x)
    names = {event.key for event in profile.key_averages()}
    assert names & {'aten::mkldnn_convolution',
                    'mkldnn::_convolution_pointwise'}
    assert not names & {'aten::copy_', 'aten::clone', 'aten::contiguous'}


def positions_at_once(block, x):
    """How many positions of the hidden map each call computes, and what."""
    counts = []
    hook = block.point_conv.register_forward_pre_hook(
        lambda module, inputs: counts.append(inputs[0][:, 0].numel()))
    output = block(x)
    hook.remove()
    return counts, output


@pytest.fixture(scope='module')
def b3():
    """The network, and the deployed one."""
    model = trained('b3')
    return model, copy.deepcopy(model).switch_to_deploy()


@pytest.mark.parametrize('grad', [False, True])
@pytest.mark.parametrize('layout', [torch.contiguous_format,
                                    torch.channels_last])
@pytest.mark.parametrize('name', ['stem.1', 'stages.1.1'])
def test_parts_of_a_wide_map(name, layout, grad, b3):
    """In rows, or in tiles of Winograd's algorithm."""
    block, deployed = (model.get_submodule(name).branch for model in b3)
    assert isinstance(deployed, ChunkedFusedMBConv)
    channels = block.spatial_conv.in_channels
    x = torch.randn(2, channels, 101, 150).to(memory_format=layout)
    with torch.set_grad_enabled(grad):
        counts, output = positions_at_once(deployed, x)
        assert len(counts) > 2
        assert 2 * 101 * 150 <= sum(counts) <= 1.1 * 2 * 101 * 150
        torch.testing.assert_close(output, block(x), rtol=1e-4, atol=1e-4)
        assert len(positions_at_once(deployed, x[..., :16, :16])[0]) == 1


def test_which_blocks_are_replaced():
    deployed = trained('b1').switch_to_deploy()
    names = [name for name, module in deployed.named_modules()
             if isinstance(module, (ChunkedFusedMBConv, WinogradConv2d))]
    assert names == [
        name for block in range(5) for name in (
            f'stages.2.{block + 1}.local.branch',
            f'stages.2.{block + 1}.local.branch.spatial_conv.conv')] + [
        f'stages.3.{block + 1}.lowtention.branch.up' for block in range(5)]
    # Outside, they look like what they take the place of.
    assert not [key for key in deployed.state_dict() if 'values' in key]


def test_norms_that_stay_need_the_whole_map():
    model = trained(SMALL, norm_cfg=dict(type='GN', num_groups=1))
    model.switch_to_deploy()
    assert not any(isinstance(module, ChunkedFusedMBConv)
                   for module in model.modules())


def test_norm_keeps_the_layout():
    norm, x = ImageNorm(eps=1e-5), 3 * torch.randn(2, 6, 5, 7) + 1
    expected = nn.GroupNorm(1, 6, affine=False)(x)
    for layout in (torch.contiguous_format, torch.channels_last):
        output = norm(x.contiguous(memory_format=layout))
        assert output.is_contiguous(memory_format=layout)
        torch.testing.assert_close(output, expected)


def test_input_stays_as_it_is():
    """Sums take the place of their own terms, not of what a user gave."""
    deployed = trained(SMALL).switch_to_deploy()
    x = images()
    before = x.clone()
    with torch.inference_mode():
        first, second = deployed(x), deployed(x)
    assert torch.equal(x, before)
    assert all(map(torch.equal, first, second))


def test_again_does_nothing():
    model = trained(SMALL)
    once = model.switch_to_deploy()
    assert once is model
    state = copy.deepcopy(model.state_dict())
    model.switch_to_deploy()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[key])
               for key, value in model.state_dict().items())


def test_not_while_training():
    model = LowFormer(SMALL)
    with pytest.raises(RuntimeError, match=r'call eval\(\)'):
        model.switch_to_deploy()
    model.eval().switch_to_deploy()
    with pytest.raises(RuntimeError, match='cannot be trained'):
        model.train()
    model.train(False)


def test_a_part_of_the_stages():
    model = trained('b0', out_indices=(0, 2), frozen_stages=1)
    deployed = copy.deepcopy(model).switch_to_deploy()
    assert max(largest_errors(model, deployed, images())) <= 1e-5


def test_other_norms_stay():
    model = trained(SMALL, norm_cfg=dict(type='GN', num_groups=1))
    deployed = copy.deepcopy(model).switch_to_deploy()
    assert max(largest_errors(model, deployed, images())) <= 1e-5


def test_checkpoint_of_a_training_into_a_deployed_network():
    state = LowFormer('b0').state_dict()
    deployed = LowFormer('b0').eval().switch_to_deploy()
    with pytest.raises(ValueError, match='load them before switch_to_deploy'):
        deployed.load_state_dict(state)


def test_deployed_weights():
    deployed = trained('b0').switch_to_deploy()
    state = deployed.state_dict()
    with pytest.raises(ValueError, match='those of a deployed LowFormer'):
        LowFormer('b0').load_state_dict(state)
    again = LowFormer('b0').eval().switch_to_deploy()
    again.load_state_dict(state)
    assert max(largest_errors(deployed, again, images())) == 0


def test_detector_of_deployed_weights():
    model = nn.ModuleDict(dict(backbone=LowFormer(SMALL)))
    state = copy.deepcopy(model).eval()
    state.backbone.switch_to_deploy()
    with pytest.raises(engine.UserError, match='those of a deployed LowForm'):
        engine.fitting_state_dict(model, state.state_dict(), 'a.pth', False)


@pytest.mark.parametrize('block', [('norm_lowtention', 'norm_mlp', 'local'),
                                   ('local', )])
def test_own_weights_with_another_norm(block):
    """GroupNorms stay, so that not all names tell what is deployed."""
    arch = dict(SMALL, block=block)
    norm_cfg = dict(type='GN', num_groups=2)
    source, target = (LowFormer(arch, norm_cfg=norm_cfg).eval()
                      .switch_to_deploy() for _ in range(2))
    state = engine.fitting_state_dict(
        target, source.state_dict(), 'a.pth', partial=False)
    target.load_state_dict(state)
    x = images()
    with torch.no_grad():
        for one, other in zip(target(x), source(x)):
            assert torch.equal(one, other)


def test_batch_norm_without_scale_and_shift():
    model = randomise(LowFormer(SMALL)).eval()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.affine = False
            module.weight = module.bias = None
    x = images()
    with torch.no_grad():
        expected = model(x)
        for output, target in zip(model.switch_to_deploy()(x), expected):
            torch.testing.assert_close(output, target, rtol=1e-4, atol=1e-5)


def test_batch_norm_without_running_statistics():
    model = LowFormer(SMALL, norm_cfg=dict(
        type='BN', track_running_stats=False)).eval()
    before = {name: value.clone() for name, value in
              model.state_dict().items()}
    with pytest.raises(ValueError, match='stem.0.bn normalizes by the stat'):
        model.switch_to_deploy()
    assert not model.deployed
    assert before.keys() == model.state_dict().keys()


def test_deployed_in_inference_mode():
    """And loaded into outside of it."""
    model, other = (randomise(LowFormer(SMALL)).eval() for _ in range(2))
    with torch.inference_mode():
        model.switch_to_deploy()
    other.switch_to_deploy()
    model.load_state_dict(other.state_dict())
    x = images()
    with torch.no_grad():
        for one, two in zip(model(x), other(x)):
            assert torch.equal(one, two)
