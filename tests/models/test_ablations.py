"""The networks of the authors' ablations, and what else arch dicts can say.

The counts are those of the authors' code with the settings of its ablations.
"""
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import mmlowformer
from mmlowformer import LowFormer
from mmlowformer.models.ablations import ABLATIONS
from mmlowformer.models.blocks import Lowtention, ReLULinearAttention
from mmlowformer.models.classifier import Classifier

from .test_lowformer import SMALL, images, loss_of
from .test_reparameterize import largest_errors, trained

# Parameters of the backbone; its MACs at 224x224 and at 512x512.
GOLDEN = {
    'b1': (13_478_224, 1_387_654_912, 7_351_533_568),
    'b1_unfused': (7_941_424, 693_846_272, 3_726_737_408),
    'b1_no_attention': (10_003_952, 1_620_634_624, 8_466_989_056),
    'b1_relu_linear_attention': (9_694_544, 1_186_825_472, 6_200_557_568),
    'b1_full_resolution': (13_191_504, 1_471_260_672, 8_297_054_208),
    'b1_full_channels': (16_222_544, 1_526_736_512, 8_179_908_608),
    'b1_plain_attention': (15_649_104, 1_691_596_032, 10_058_661_888),
    'b1_all_fused': (26_854_864, 2_042_922_112, 10_774_970_368),
    'b1_no_mlp': (10_184_144, 1_130_753_792, 6_009_356_288),
    'b1_mlp_only': (10_696_784, 1_247_224_832, 6_516_113_408),
    'b1_local_only': (7_406_544, 990_323_712, 5_173_936_128),
}
# Of the classifier: parameters; MACs at 224x224.
CLASSIFIER = (4_458_088, 23_325_184)
# In millions, with the classifier.
STUDY = {
    'b1_unfused': (12.40, 717), 'b1_no_attention': (14.46, 1644),
    'b1_relu_linear_attention': (14.15, 1210),
    'b1_full_resolution': (17.65, 1495), 'b1_full_channels': (20.68, 1550),
    'b1_plain_attention': (20.11, 1715), 'b1_all_fused': (31.31, 2066),
    'b1_no_mlp': (14.64, 1154), 'b1_mlp_only': (15.15, 1271),
    'b1_local_only': (11.86, 1014),
}
NAMES = list(ABLATIONS)


def macs(module, x):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops() // 2


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_all_of_them():
    assert NAMES == list(GOLDEN)[1:] == list(STUDY)


@pytest.mark.parametrize('name', GOLDEN)
def test_counts(name):
    with torch.device('meta'):
        model = LowFormer(name).eval()
        counts = [macs(model, images(size, size, batch=1))
                  for size in (224, 512)]
    assert (parameters(model), *counts) == GOLDEN[name]


def test_counts_with_the_classifier():
    with torch.device('meta'):
        classifier = Classifier(256, (1536, 1600), 1000).eval()
        count = macs(classifier, torch.empty(1, 256, 7, 7))
    assert (parameters(classifier), count) == CLASSIFIER
    for name, (millions, at_224) in STUDY.items():
        own = [of_backbone + more for of_backbone, more in
               zip(GOLDEN[name], CLASSIFIER)]
        assert round(own[0] / 1e6, 2) == millions
        assert round(own[1] / 1e6) == at_224


@pytest.mark.parametrize('name', NAMES)
def test_every_parameter_learns(name):
    model = LowFormer(name)
    outputs = model(images(65, 97))
    assert [tuple(output.shape[1:]) for output in outputs] == [
        (channels, math.ceil(65 / stride), math.ceil(97 / stride))
        for channels, stride in zip(model.out_channels, model.out_strides)]
    loss_of(outputs).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.count_nonzero() or key.endswith('.bias'), key


@pytest.mark.parametrize('name', NAMES)
def test_deployed(name):
    model = trained(name)
    deployed = copy.deepcopy(model).switch_to_deploy()
    for size in ((64, 64), (65, 97)):
        x = images(*size, batch=1)
        assert max(largest_errors(model, deployed, x)) <= 1e-5, size
    strides = {module.stride for module in deployed.modules()
               if isinstance(module, nn.ConvTranspose2d)}
    assert strides <= {(2, 2)}


def shallow(name):
    """The settings with one block in each stage."""
    return dict(ABLATIONS[name], depths=(0, 1, 1, 1, 1))


@pytest.mark.parametrize('name', NAMES)
def test_deployed_as_a_model(name):
    model = trained(shallow(name))
    deployed = mmlowformer.deploy(model, measure=False)
    x = images(65, 97, batch=1)
    assert max(largest_errors(model, deployed, x)) <= 1e-5


@pytest.mark.parametrize('name', NAMES)
def test_exported_and_traced(name):
    model, x = trained(shallow(name)), images(64, 96, batch=1)
    with torch.no_grad():
        for other in (torch.export.export(model, (x, )).module(),
                      torch.jit.trace(model, x)):
            assert max(largest_errors(model, other, x)) <= 1e-5


@pytest.mark.parametrize('name', NAMES)
def test_weights_are_saved_and_loaded(name):
    source, model = (LowFormer(shallow(name)) for _ in range(2))
    model.load_state_dict(source.state_dict())
    for one, other in zip(source.parameters(), model.parameters()):
        assert torch.equal(one, other)


def test_weights_of_another_network_are_refused():
    with torch.device('meta'):
        plain, other = LowFormer('b1'), LowFormer('b1_full_channels')
    with pytest.raises(ValueError, match="is b1: set arch='b1'"):
        other.load_state_dict(plain.state_dict())
    with pytest.raises(ValueError, match='none of the published variants'):
        plain.load_state_dict(other.state_dict())


def attend_pair_by_pair(q, k, v):
    """ReLU attention from its definition, ``(N, h, d, L)``, quadratic in L."""
    weights = F.relu(q).transpose(2, 3) @ F.relu(k)
    return v @ (weights / weights.sum(-1, keepdim=True)).transpose(2, 3)


def test_relu_linear_attention():
    qkv = torch.randn(2, 4 * 48, 5, 7, dtype=torch.float64)
    heads = qkv.reshape(2, 4, 48, 35).split(16, dim=2)
    expected = attend_pair_by_pair(*heads).reshape(2, 64, 5, 7)
    actual = ReLULinearAttention.attend(qkv)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_relu_linear_attention_without_weights():
    """Where no query is positive, nothing is attended to."""
    qkv = torch.rand(1, 48, 4, 4)
    qkv[:, :16, 0, 0] = -1
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        output = ReLULinearAttention.attend(qkv.to(dtype))
        assert output.dtype == dtype
        assert not output[..., 0, 0].any()
        assert output[..., 1:, 1:].all()


def test_relu_linear_attention_of_a_large_map_in_float16():
    qkv = 8 * torch.rand(1, 48, 64, 64)
    expected = ReLULinearAttention.attend(qkv)
    with torch.autocast('cpu', torch.float16):
        output = ReLULinearAttention.attend(qkv)
    assert output.isfinite().all()
    torch.testing.assert_close(output, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('down', Lowtention.WAYS)
@pytest.mark.parametrize('up', Lowtention.WAYS)
@pytest.mark.parametrize('stride', [1, 2, 4])
def test_ways_of_the_attention(stride, down, up):
    attention = Lowtention(24, stride, 7, 0.5, down, up, dict(type='BN'))
    assert attention(torch.rand(2, 24, 13, 18)).shape == (2, 24, 13, 18)


def test_other_variants_without_a_key():
    own = dict(variant='b0', attention_strides=[1, 2])
    with torch.device('meta'):
        model = LowFormer(own)
    assert own == dict(variant='b0', attention_strides=[1, 2])
    assert model.arch == dict(LowFormer.arch_settings['b0'],
                              attention_strides=[1, 2])


def test_defaults_are_those_of_the_variants():
    keys = ('widths', 'depths', 'stem_expand_ratio',
            'downsample_expand_ratio', 'block')
    for name, settings in LowFormer.arch_settings.items():
        with torch.device('meta'):
            model = LowFormer({key: settings[key] for key in keys})
        assert model.variant_name == f'LowFormer-{name}'


@pytest.mark.parametrize(('wrong', 'message'), [
    (dict(variant='b4'), "variant of the arch dict is 'b4'.*b0, b1"),
    (dict(conv_block='mb_conv'), "Did you mean 'mbconv'"),
    (dict(depthwise_from_channels=None), 'has to be a number, not None'),
    (dict(attention_strides=(2, 3)), 'attention_strides .* of 1, 2, 4, not'),
    (dict(attention_strides=(2, )), 'to hold two'),
    (dict(attention_kernels=(4, 3)), 'attention_kernels .* of 1, 3, 5'),
    (dict(attention_strides=(1, 4)), r'\(5, 3\) .* would skip pixels'),
    (dict(attention_ratio=1.5), 'at most 1'),
    (dict(attention_ratio=0.001), 'leave a channel'),
    (dict(attention_ups=('fused', 'dense')), 'of separable, dense, not'),
    (dict(attention_stride=(2, 1)), "Did you mean 'attention_strides'"),
])
def test_bad_arch_dicts(wrong, message):
    with pytest.raises(ValueError, match=message):
        LowFormer(dict(SMALL, **wrong))
