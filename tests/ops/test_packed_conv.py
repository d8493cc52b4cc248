"""Convolutions with packed weights have the outputs of ordinary ones."""
import copy
import pickle
import platform

import pytest
import torch
from torch import nn

from mmlowformer.benchmark.memory import _resident
from mmlowformer.ops import packed_conv as packed
from mmlowformer.ops.packed_conv import PackedConv2d

pytestmark = pytest.mark.skipif(not packed.can_pack(), reason='x86 only')


def build(*args, **kwargs):
    torch.manual_seed(0)
    conv = nn.Conv2d(*args, **kwargs).to(memory_format=torch.channels_last)
    return conv, PackedConv2d(conv)


def maps(channels=16, size=(12, 9), n=2):
    torch.manual_seed(1)
    x = torch.randn(n, channels, *size)
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(packed, 'MIN_MACS', 1)


@pytest.fixture
def pair():
    return build(16, 24, 3, padding=1)


@pytest.fixture
def packings(monkeypatch):
    """The sizes that weights are packed for."""
    sizes, pack = [], packed.pack_weight
    monkeypatch.setattr(packed, 'pack_weight', lambda weight, size, *args: (
        sizes.append(tuple(size[2:])), pack(weight, size, *args))[1])
    return sizes


@pytest.mark.parametrize('layout', [torch.channels_last,
                                    torch.contiguous_format])
@pytest.mark.parametrize(('args', 'kwargs'), [
    ((16, 24, 3), dict(padding=1)), ((16, 24, 1), {}),
    ((16, 8, 1), dict(bias=False)), ((16, 16, 3), dict(stride=2, groups=16)),
    ((16, 24, (3, 5)), dict(padding=(1, 2), dilation=2, groups=4))])
def test_outputs(args, kwargs, layout, packings):
    conv, fast = build(*args, **kwargs)
    x = maps().contiguous(memory_format=layout)
    with torch.no_grad():
        for _ in range(2):
            output = fast(x)
            torch.testing.assert_close(output, conv(x), rtol=1e-5, atol=1e-5)
            assert output.is_contiguous(memory_format=torch.channels_last)
    assert packings == [(12, 9)]


def test_in_bfloat16(packings):
    conv, fast = (module.bfloat16() for module in build(16, 24, 1))
    x = maps().bfloat16()
    with torch.no_grad():
        torch.testing.assert_close(fast(x), conv(x))
    assert packings


def test_sizes_in_turn(pair, packings):
    conv, fast = pair
    large, small = maps(size=(16, 16)), maps(size=(4, 4))
    with torch.no_grad():
        for x in (large, small, large, small):
            torch.testing.assert_close(fast(x), conv(x), rtol=1e-5, atol=1e-5)
        assert packings == [(16, 16)]
        unpacked = fast(small)
        assert packings == [(16, 16), (4, 4)]
        assert torch.equal(fast(small), unpacked)
        assert len(packings) == 2


def test_what_is_small_is_left_to_torch(pair, packings, monkeypatch):
    conv, fast = pair
    monkeypatch.setattr(packed, 'MIN_MACS', 2 * 12 * 9 * 24 * 16 * 9)
    with torch.no_grad():
        torch.testing.assert_close(fast(maps(n=1)), conv(maps(n=1)))
        assert not packings
        fast(maps())
    assert packings == [(12, 9)]


def test_of_nothing(pair):
    conv, fast = pair
    with torch.no_grad():
        assert fast(maps(n=0)).shape == (0, 24, 12, 9)
        torch.testing.assert_close(fast(maps()[0]), conv(maps()[0]))


@pytest.mark.parametrize('change', [
    lambda conv: conv.weight.mul_(2),
    lambda conv: conv.weight.data.mul_(2),
    lambda conv: setattr(conv.weight, 'data', conv.weight * 2),
    lambda conv: conv.load_state_dict(dict(weight=conv.weight * 2,
                                           bias=conv.bias))])
def test_weights_may_change(pair, change):
    conv, fast = pair
    with torch.no_grad():
        before = fast(maps())
        change(fast)
        after = fast(maps())
        torch.testing.assert_close(after, conv(maps()), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before, after)


def test_gradients(pair, packings):
    conv, fast = pair
    fast(maps()).sum().backward()
    expected, = torch.autograd.grad(conv(maps()).sum(), [conv.weight])
    torch.testing.assert_close(fast.weight.grad, expected)
    assert not packings


def test_as_ever_where_it_is_not_for(pair, packings):
    conv, fast = pair
    with torch.no_grad():
        with torch.autocast('cpu', torch.bfloat16):
            assert torch.equal(fast(maps()), conv(maps()))
        x = maps().double()
        assert torch.equal(copy.deepcopy(fast).double()(x),
                           copy.deepcopy(conv).double()(x))
        traced = torch.jit.trace(fast, maps(), check_trace=False)
        assert '_convolution_pointwise' not in str(traced.graph)
        program = torch.export.export(fast, (maps(), ))
        assert 'mkldnn' not in str(program.graph)
    assert not packings


def test_weights_made_in_inference_mode(packings):
    with torch.inference_mode():
        conv, fast = build(16, 24, 1)
        assert torch.equal(fast(maps()), conv(maps()))
    assert not packings


def test_nothing_packed_is_copied(pair, packings):
    _, fast = pair
    with torch.no_grad():
        expected = fast(maps())
        for copied in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast)),
                       fast.float()):
            assert copied._packed is None
            assert torch.equal(copied(maps()), expected)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='glibc only')
def test_memory_is_given_back():
    """Also what lies between blocks that are in use."""
    blocks = [torch.ones(2**14) for _ in range(2**11)]
    kept = blocks[::64]
    del blocks
    before = _resident('VmRSS')
    packed.clear_packed_weights(nn.Sequential())
    assert before - _resident('VmRSS') > 100 * 2**20
    assert len(kept) == 32


@pytest.mark.parametrize('kwargs', [dict(padding='same'),
                                    dict(padding_mode='reflect', padding=1)])
def test_others_are_not_replaced(kwargs):
    class Other(nn.Conv2d):
        pass

    assert PackedConv2d.can_replace(nn.Conv2d(4, 4, 3))
    assert not PackedConv2d.can_replace(nn.Conv2d(4, 4, 3, **kwargs))
    assert not PackedConv2d.can_replace(Other(4, 4, 3))
