"""Stacks of equal MACs."""
import pytest
import torch

from mmlowformer.benchmark.models import model_info
from mmlowformer.study.block_types import (
    BLOCK_TYPES,
    MAX_BLOCKS,
    TOLERANCE,
    common_work,
    plan,
)

WITHOUT_MACS = {'BatchNorm', 'GroupNorm', 'Hardswish', 'GELU'}


@pytest.mark.parametrize(('channels', 'size'), [(32, 14), (128, 7), (512, 7)])
def test_work_is_equal_within_one_percent(channels, size):
    plans = {name: plan(name, channels, size) for name in BLOCK_TYPES}
    equal = {name for name, found in plans.items() if found.equal}
    assert equal == BLOCK_TYPES.keys() - WITHOUT_MACS
    for block_type in equal:
        found = plans[block_type]
        assert found.times * found.macs == pytest.approx(
            common_work(channels, size), rel=TOLERANCE), block_type
        assert found.blocks <= MAX_BLOCKS


@pytest.mark.parametrize('block_type', [
    'conv 7x7', '4 groups 3x3', 'depthwise 5x5', 'MBConv',
    'Lowtention stride 2', 'ReLU linear attention'])
def test_work_is_that_of_the_real_stack(block_type):
    """As torch counts it on what is built."""
    found = plan(block_type, 32, 14)
    facts = model_info(found.build().eval(), (14, 14), 32)
    assert found.macs == facts.macs > 0


def test_what_has_more_than_all_others_is_a_single_block():
    found = plan('Lowtention stride 1', 64, 56)
    assert (found.blocks, found.filled, found.equal) == (1, 0, False)
    assert plan('plain attention', 32, 112) is None


@pytest.mark.parametrize('block_type', ['depthwise 3x3', 'conv 1x1', 'MBConv'])
def test_values_neither_vanish_nor_explode(block_type):
    torch.manual_seed(0)
    stack = plan(block_type, 32, 7).build().eval()
    with torch.no_grad():
        output = stack(torch.randn(1, 32, 7, 7))
    assert 0.1 < output.std() < 10


def test_a_stack_deploys():
    torch.manual_seed(0)
    stack = plan('fused MBConv', 32, 7).build().eval()
    x = torch.randn(1, 32, 7, 7)
    with torch.no_grad():
        expected = stack(x)
        stack.switch_to_deploy()
        torch.testing.assert_close(stack(x), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d)
                   for module in stack.modules())


def test_bytes_are_those_that_operators_move():
    found = plan('GELU', 32, 7)
    # Eight times in and out.
    assert found.work.bytes_moved(3, 4) == 8 * 2 * 3 * 4 * 32 * 7 * 7
    conv = plan('conv 1x1', 32, 7)
    maps, weights = 100 * 2 * 32 * 7 * 7, 100 * (32 * 32 + 32)
    assert conv.work.bytes_moved(3, 2) == 2 * (3 * maps + weights)
