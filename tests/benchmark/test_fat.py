"""FAT, the peer that no library has."""
import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmlowformer.benchmark.models import find_models, model_info
from mmlowformer.benchmark.peers import fat

from ..models.test_lowformer import randomise

# Counted on the authors' code: parameters with a classifier of 1000; MACs of
# the backbone at 224x224.
GOLDEN = dict(
    fat_b0=(4_494_488, 753_863_040), fat_b1=(7_819_720, 1_243_102_560),
    fat_b2=(13_466_728, 2_130_930_816), fat_b3=(29_196_264, 4_631_269_888))


def test_all_sizes():
    specs = find_models(['peer:*'])
    assert [spec.name for spec in specs] == [f'peer:{name}' for name in
                                             fat.SETTINGS]
    assert fat.SETTINGS.keys() == GOLDEN.keys()


@pytest.mark.parametrize('name', GOLDEN)
def test_counts_and_outputs(name):
    spec, = find_models([f'peer:{name}'])
    with torch.device('meta'):
        facts = model_info(spec.build().eval(), (224, 224))
    width = fat.SETTINGS[name]['widths'][-1]
    with_classifier = facts.parameters + 1000 * (width + 1)
    assert (with_classifier, facts.macs) == GOLDEN[name]
    assert facts.strides == [32]
    assert facts.channels == [width]


def test_deployed():
    model = randomise(fat.build('fat_b0')).eval()
    deployed = copy.deepcopy(model).switch_to_deploy()
    assert not any(isinstance(module, _BatchNorm)
                   for module in deployed.modules())
    assert not any(module.residual for module in deployed.modules()
                   if isinstance(module, fat.DepthwiseConv))
    for size in ((64, 64), (65, 97)):
        x = torch.rand(1, 3, *size)
        with torch.no_grad():
            expected, output = model(x), deployed(x)
        error = (output - expected).abs().max() / expected.abs().max()
        assert error <= 1e-5


def test_attention():
    """Against the definition: both features gated, pixel by pixel."""
    attention = fat.FullyAdaptiveAttention(12, 3, 2, 4).eval()
    x = torch.rand(2, 12, 8, 12)
    with torch.no_grad():
        output = attention(x)
        q, pooled = attention.q(x), attention.pool(x)
        assert pooled.shape == (2, 12, 2, 3)
        keys, values = attention.kv(pooled).flatten(2).split(12, dim=1)
        heads = [(slice(0, 6)), slice(6, 12)]
        attended = torch.cat([
            values[:, head] @ torch.softmax(
                keys[:, head].transpose(1, 2) @ q.flatten(2)[:, head]
                / 6**0.5, dim=1) for head in heads], dim=1).view_as(q)
        local = attention.local.conv(q)
        expected = attention.proj(
            local * local.sigmoid() * attended.sigmoid() * attended)
    torch.testing.assert_close(output, expected)


def test_every_parameter_learns():
    model = fat.build('fat_b0').train()
    model(torch.rand(2, 3, 64, 64)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert isinstance(model.stem[0][1], nn.BatchNorm2d)
