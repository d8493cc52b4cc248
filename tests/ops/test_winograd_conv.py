"""Winograd's convolutions have the outputs of direct ones."""
import copy
import math
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mmlowformer.ops import chunking, conv_heuristics, winograd_conv
from mmlowformer.ops.packed_conv import can_pack, layout_of
from mmlowformer.ops.winograd_conv import WinogradConv2d, pack_kernels


def build(in_channels=128, out_channels=24, **kwargs):
    arguments = dict(padding=1) | kwargs
    return nn.Conv2d(in_channels, out_channels, 3, **arguments)


def maps(n=2, channels=128, height=16, width=16):
    torch.manual_seed(1)
    x = torch.randn(n, channels, height, width)
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(conv_heuristics, 'MIN_TILES', 16)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    conv = build()
    return conv, WinogradConv2d(conv)


def error(output, conv, x):
    """Against the convolution in float64, over its largest value."""
    target = copy.deepcopy(conv).double()(x.double())
    return ((output - target).abs().max() / target.abs().max()).item()


@pytest.mark.parametrize('size', [(16, 16), (15, 30), (13, 17), (4, 64),
                                  (1, 90)])
@pytest.mark.parametrize('n', [1, 3])
def test_outputs(pair, n, size):
    conv, fast = pair
    x = maps(n, 128, *size)
    with torch.no_grad():
        assert fast.use_winograd(x)
        output, direct = fast(x), conv(x)
    assert output.shape == direct.shape
    assert error(output, conv, x) <= 1e-5
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_rounding(pair):
    """The usual points, 0, 1, -1, 2 and -2, have four times its errors."""
    conv, fast = pair
    x = maps(4, 128, 64, 64)
    with torch.no_grad():
        target = copy.deepcopy(conv).double()(x.double())
        errors = [(output - target).pow(2).mean().sqrt().item()
                  for output in (conv(x), fast(x))]
    assert errors[1] <= 3 * errors[0]


def test_in_bfloat16(pair):
    """With no larger errors than a direct one; if somebody wants it."""
    conv, fast = pair
    exact = copy.deepcopy(conv).double()
    conv, fast, x = conv.bfloat16(), fast.bfloat16(), maps().bfloat16()
    with torch.no_grad():
        assert not fast.use_winograd(x)
        direct, target = conv(x), exact(x.double())
        fast.choose = lambda *size: size[-1] == torch.bfloat16
        assert fast.use_winograd(x)
        tiled = fast(x)
        behind = fast.convolve_tiles(x, nn.Conv2d(24, 5, 1).bfloat16())
        torch._dynamo.reset()
        compiled = torch.compile(fast, fullgraph=True, backend='aot_eager')
        assert torch.equal(compiled(x), tiled)
    assert tiled.dtype == behind.dtype == torch.bfloat16
    errors = [(output - target).pow(2).mean().sqrt()
              for output in (direct, tiled)]
    assert 0 < errors[1] <= 1.1 * errors[0]


def extremes(conv, fast, x):
    """Of both: the largest error over the spread of ordinary outputs."""
    with torch.no_grad():
        exact = copy.deepcopy(conv).double()(x.double())
        return [((output - exact).abs().max() / conv(maps()).std()).item()
                for output in (conv(x), fast(x))]


def test_rounding_beside_an_outlier():
    """docs/benchmark.md: below 0.01, several times a direct one's."""
    torch.manual_seed(0)
    conv = build(out_channels=128)
    x = maps(1, 128, 32, 32)
    x[0, 0, 16, 16] = 1e4
    direct, tiled = extremes(conv, WinogradConv2d(conv), x)
    assert 1e-4 < direct < 2e-3
    assert direct < tiled < 1e-2


@pytest.mark.parametrize(('position', 'count'), [(18, 16), (16, 64)])
def test_how_far_a_nan_reaches(pair, position, count):
    conv, fast = pair
    x = maps(1, 128, 32, 32)
    x[0, 0, position, position] = math.nan
    with torch.no_grad():
        assert conv(x)[0].isnan().any(0).sum() == 9
        assert fast(x)[0].isnan().any(0).sum() == count


def test_when_values_overflow(pair):
    conv, fast = pair
    with torch.no_grad():
        for factor, finite in ((1e36, (True, True)), (1e37, (True, False)),
                               (1e38, (False, False))):
            x = maps() * factor
            assert (conv(x).isfinite().all(), fast(x).isfinite().all()
                    ) == finite


@pytest.mark.parametrize('part_size', [1, 24 * 4, 24 * 8, 24 * 16 * 2])
def test_parts_make_the_whole(pair, monkeypatch, part_size):
    """A row of tiles, two, an image, two images at once."""
    _, fast = pair
    x = maps(5)
    with torch.no_grad():
        whole = fast(x)
        monkeypatch.setattr(winograd_conv, 'CHUNK_SIZE', part_size)
        torch.testing.assert_close(fast(x), whole)


def test_pointwise_sees_all_positions(pair):
    conv, fast = pair
    behind = nn.Sequential(nn.ReLU(), nn.Conv2d(24, 5, 1))
    x = maps(2, 128, 14, 19)
    with torch.no_grad():
        torch.testing.assert_close(fast.convolve_tiles(x, behind),
                                   behind(conv(x)), rtol=1e-4, atol=1e-5)


def test_without_a_bias():
    conv = build(bias=False)
    fast = WinogradConv2d(conv)
    with torch.no_grad():
        assert fast.use_winograd(maps())
        assert error(fast(maps()), conv, maps()) <= 1e-5


def test_somebody_else_chooses(pair):
    conv, fast = pair
    asked = []
    fast.choose = lambda *size: asked.append(size) or False
    with torch.no_grad():
        torch.testing.assert_close(fast(maps()), conv(maps()))
    assert asked == [(128, 24, 2, 16, 16, torch.float32)]


@pytest.mark.parametrize('kwargs', [
    dict(stride=2), dict(padding=0), dict(dilation=2), dict(groups=2),
    dict(padding_mode='reflect'), dict(in_channels=64)])
def test_others_are_not_replaced(kwargs):
    assert WinogradConv2d.can_replace(build())
    assert not WinogradConv2d.can_replace(build(**kwargs))
    assert not WinogradConv2d.can_replace(nn.Conv2d(128, 128, 1))


def test_direct_where_it_does_not_pay(pair):
    conv, fast = pair
    few, channels_first = maps(1, 128, 8, 9), maps().contiguous()
    with torch.no_grad():
        for x in (few, channels_first):
            assert not fast.use_winograd(x)
            torch.testing.assert_close(fast(x), conv(x))
        with torch.autocast('cpu', torch.bfloat16):
            assert not fast.use_winograd(maps())
        assert fast.use_winograd(maps())


def test_gradients(pair):
    conv, fast = pair
    x = maps().requires_grad_()
    assert not fast.use_winograd(x)
    fast(x).sum().backward()
    expected = torch.autograd.grad(conv(x).sum(), [x, conv.weight])
    assert torch.equal(x.grad, expected[0])
    assert torch.equal(fast.weight.grad, expected[1])


def test_other_types(pair):
    conv, fast = pair
    with torch.no_grad():
        expected = fast(maps())
        double = copy.deepcopy(fast).double()
        assert not copy.deepcopy(fast).half().use_winograd(maps().half())
        assert not double.use_winograd(maps().double())
        assert torch.equal(double(maps().double()),
                           copy.deepcopy(conv).double()(maps().double()))
        assert torch.equal(double.float()(maps()), expected)
        assert not copy.deepcopy(fast).to('meta').use_winograd(maps())


def optimizer_step(fast, **kwargs):
    fast.weight.grad = torch.ones_like(fast.weight)
    torch.optim.AdamW([fast.weight], lr=0.1, **kwargs).step()


def average(fast):
    averaged = AveragedModel(copy.deepcopy(fast))
    fast.weight.data.zero_()
    averaged.update_parameters(fast)
    fast.load_state_dict(averaged.module.state_dict())


CHANGES = dict(
    multiplied=lambda fast: fast.weight.mul_(2),
    copied=lambda fast: fast.weight.copy_(build().weight),
    single_value=lambda fast: fast.weight[3, 4, 1, 1].fill_(9.),
    detached=lambda fast: fast.weight.detach().neg_(),
    data=lambda fast: setattr(fast.weight, 'data', build().weight.data),
    in_data=lambda fast: fast.weight.data.mul_(2),
    other=lambda fast: setattr(fast, 'weight', build().weight),
    optimizer=optimizer_step,
    foreach=partial(optimizer_step, foreach=True),
    fused=partial(optimizer_step, fused=True),
    initialized=lambda fast: nn.init.normal_(fast.weight),
    averaged=average,
    loaded=lambda fast: fast.load_state_dict(build().state_dict()),
    assigned=lambda fast: fast.load_state_dict(build().state_dict(),
                                               assign=True),
    applied=lambda fast: fast.double().float().weight.mul_(3),
    strided=lambda fast: setattr(fast, 'weight', nn.Parameter(
        torch.randn(24, 128, 3, 6)[..., ::2])),
)


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES.keys())
def test_follows_the_weights(pair, change):
    _, fast = pair
    x = maps()
    with torch.no_grad():
        before = fast(x)
        change(fast)
        direct = F.conv2d(x, fast.weight, fast.bias, padding=1)
        output = fast(x)
    assert (before - direct).abs().max() > 0.1
    assert (output - direct).abs().max() <= 1e-5 * direct.abs().max()


def test_follows_functional_call(pair):
    _, fast = pair
    x, weights = maps(), dict(build().named_parameters())
    with torch.no_grad():
        before = fast(x)
        output = torch.func.functional_call(fast, weights, (x, ))
        torch.testing.assert_close(
            output, F.conv2d(x, **weights, padding=1), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(fast(x), before)


def test_copies_are_independent(pair):
    _, fast = pair
    x = maps()
    with torch.no_grad():
        before = fast(x)
        twin = copy.deepcopy(fast)
        twin.weight.mul_(2)
        twin.bias.mul_(2)
        torch.testing.assert_close(twin(x), 2 * before)
        assert torch.equal(fast(x), before)


def test_where_nothing_can_be_packed(pair, monkeypatch):
    conv, fast = pair
    monkeypatch.setattr(winograd_conv, 'can_pack', lambda: False)
    with torch.no_grad():
        for x in (maps(), maps(3, 128, 13, 17)):
            assert error(fast(x), conv, x) <= 1e-5


@pytest.mark.skipif(not can_pack(), reason='x86 only')
def test_a_layout_is_kept_once(pair, monkeypatch):
    """That of many tiles serves them all, but few may have another one."""
    conv, fast = pair
    made = []
    monkeypatch.setattr(winograd_conv, 'pack_kernels', lambda kernels, tiles: (
        made.append(tiles), pack_kernels(kernels, tiles))[1])
    monkeypatch.setattr(winograd_conv, 'kernel_layout', lambda *sizes: (
        b'few' if sizes[2] < 64 else b'many'))
    with torch.no_grad():
        for side in (64, 20, 32, 16, 64):
            x = maps(1, 128, side, side)
            assert error(fast(x), conv, x) <= 1e-5
    assert made == [256, 25]


@pytest.mark.skipif(not can_pack(), reason='x86 only')
def test_layouts_are_told_apart():
    sizes = [(channels, 24, tiles) for channels in (4, 128)
             for tiles in (16, 256)]
    for size in sizes:
        kernels = torch.randn(36 * 24, size[0], 1, 1)
        packed = winograd_conv.pack_kernels(kernels, size[2])
        assert winograd_conv.kernel_layout(*size) == layout_of(packed)
    assert len({winograd_conv.kernel_layout(*size) for size in sizes}) > 1


def test_kernels_are_made_once(pair, monkeypatch):
    _, fast = pair
    with torch.no_grad():
        fast(maps())
        monkeypatch.setattr(winograd_conv, 'transform_kernels', None)
        fast(maps())


def test_kernels_are_not_pickled(pair):
    _, fast = pair
    with torch.no_grad():
        size = len(pickle.dumps(fast))
        fast(maps())
        assert len(pickle.dumps(fast)) == size


def test_weights_that_are_loaded(pair):
    _, fast = pair
    other = build()
    assert fast.state_dict().keys() == other.state_dict().keys()
    fast.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert error(fast(maps()), other, maps()) <= 1e-5


def test_exports_are_direct(pair):
    _, fast = pair
    with torch.no_grad():
        traced = torch.jit.trace(fast, maps())
        exported = torch.export.export(fast, (maps(), ))
    assert 'bmm' not in str(traced.inlined_graph)
    assert 'bmm' not in str(exported.graph)


def test_compiled(pair, monkeypatch):
    """Without a break in the graph, and without endless loops in it."""
    _, fast = pair
    compile = dict(fullgraph=True, dynamic=False, backend='aot_eager')
    with torch.no_grad():
        torch._dynamo.reset()
        expected = fast(maps())
        assert torch.equal(torch.compile(fast, **compile)(maps()), expected)
        monkeypatch.setattr(winograd_conv, 'CHUNK_SIZE', 24 * 8)
        monkeypatch.setattr(chunking, 'MAX_UNROLLED_CHUNKS', 3)
        torch._dynamo.reset()
        direct = F.conv2d(maps(), fast.weight, fast.bias, padding=1)
        assert torch.equal(torch.compile(fast, **compile)(maps()), direct)
    assert not torch.equal(direct, expected)


def test_compiled_follows_the_weights(pair):
    _, fast = pair
    torch._dynamo.reset()
    compiled = torch.compile(fast, fullgraph=True, backend='aot_eager')
    with torch.no_grad():
        before = compiled(maps())
        fast.weight.data.mul_(2)
        fast.bias.data.mul_(2)
        torch.testing.assert_close(compiled(maps()), 2 * before)


@pytest.mark.skipif(not can_pack(), reason='x86 only')
def test_compiled_kernels_are_shared(pair, monkeypatch):
    """By all numbers of tiles for which they are laid out alike."""
    _, fast = pair
    monkeypatch.setattr(winograd_conv, 'kernel_layout', lambda *sizes: (
        b'few' if sizes[2] < 64 else b'many'))
    kernels = []

    def list_kernels(graph, inputs):
        kernels.extend(node.args for node in graph.graph.nodes
                       if 'winograd_kernels' in str(node.target))
        return graph

    torch._dynamo.reset()
    compiled = torch.compile(lambda *many: [fast(x) for x in many],
                             fullgraph=True, backend=list_kernels)
    with torch.no_grad():
        compiled(*(maps(1, 128, side, side) for side in (64, 32, 40, 20)))
    assert len(kernels) == 4
    assert len(set(kernels)) == 2


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_compilers_know_what_kernels_are(pair, dtype):
    _, fast = pair
    operator = torch.ops.mmlowformer.winograd_kernels.default
    torch.library.opcheck(
        operator, (fast.weight.detach().to(dtype), 64),
        test_utils=('test_schema', 'test_faketensor'))
