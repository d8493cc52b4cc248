import math

import pytest
import torch
from torch import nn

from mmlowformer import LowFormer
from mmlowformer.analysis import precision
from mmlowformer.engine import UserError

from ..models.test_lowformer import SMALL, VARIANTS, images, randomise

LOCAL = 'stages.3.1.local'


@pytest.fixture(scope='module')
def backbone():
    torch.manual_seed(0)
    return randomise(LowFormer(SMALL)).eval()


def cancelling(value):
    """A network in which a BatchNorm takes ``value`` off a constant input.

    One hidden channel of an MBConv becomes that constant, which is sent to
    all outputs of the projection; its running mean takes it off again.
    """
    model = randomise(LowFormer(SMALL)).eval()
    local = model.get_submodule(LOCAL).branch
    with torch.no_grad():
        for layer in (local.expand_conv.conv, local.depth_conv.conv):
            layer.weight[0] = 0
            layer.bias[0] = value
        local.point_conv.conv.weight[:, 0] = 1
        local.point_conv.bn.running_mean += value
    return model


def by_name(errors):
    return {error.name: error for error in errors}


def measured(backbone, dtype=torch.bfloat16, batches=None):
    return by_name(precision.measure(backbone, batches or [images()], dtype))


@pytest.mark.parametrize('arch', VARIANTS)
def test_blocks_are_in_the_order_of_the_network(arch):
    with torch.device('meta'):
        model = LowFormer(arch)
    blocks = precision.named_blocks(model)
    n0, n1, n2, n3, n4 = model.arch['depths']
    branches = len(model.arch['block'])
    assert len(blocks) == (1 + n0) + n1 + n2 + 2 + (n3 + n4) * branches
    modules = [name for name, _ in model.named_modules() if name in blocks]
    assert list(blocks) == modules
    # Nothing with weights is left out.
    inside = {id(parameter) for block in blocks.values()
              for parameter in block.parameters()}
    assert inside == {id(parameter) for parameter in model.parameters()}


@pytest.mark.parametrize('arch', VARIANTS)
def test_errors_are_those_of_the_type(arch):
    """float16 has 3 bits more than bfloat16."""
    model = randomise(LowFormer(arch, out_indices=(0, 1, 2))).eval()
    x = images(32, 32, batch=1)
    coarse, fine = (measured(model, dtype, [x]) for dtype in
                    (torch.bfloat16, torch.float16))
    assert list(coarse) == list(fine) == list(precision.named_blocks(model))
    for name, error in coarse.items():
        assert 2 ** -10 < error.alone < 0.05
        assert 4 < error.alone / fine[name].alone < 16
    first = next(iter(coarse.values()))
    assert first.accumulated == first.alone


def test_batches_add_up(backbone):
    batches = images(batch=3).split(2)
    with torch.no_grad():
        wanted = [backbone(x)[-1] for x in batches]
        with torch.autocast('cpu', torch.bfloat16):
            low = [backbone(x)[-1].float() for x in batches]
    difference = sum((one - other).square().sum()
                     for one, other in zip(low, wanted)).sqrt()
    norm = sum(output.square().sum() for output in wanted).sqrt()
    last = list(measured(backbone, batches=batches).values())[-1]
    assert last.accumulated == pytest.approx((difference / norm).item())
    assert last.largest >= max(output.abs().max() for output in wanted)


def test_finds_the_block_that_loses():
    errors = measured(cancelling(300.))
    worst = max(errors.values(), key=lambda error: error.alone)
    assert worst.name == LOCAL
    # All outputs of the projection are added up from 300 and something.
    assert worst.largest >= 300
    assert worst.alone > 3 * max(
        error.alone for name, error in errors.items() if name != LOCAL)


def test_overflow_is_no_number():
    errors = measured(cancelling(1e5), torch.float16)
    before = list(errors).index(LOCAL)
    assert not math.isfinite(errors[LOCAL].alone)
    assert all(math.isfinite(error.accumulated)
               for error in list(errors.values())[:before])


def test_float32_layers_mend_it():
    model, batches = cancelling(300.), [images()]
    plain = measured(model, batches=batches)
    with precision.float32_layers(model, f'{LOCAL}.branch.point_conv'):
        mended = measured(model, batches=batches)
    assert mended[LOCAL].alone < plain[LOCAL].alone / 3
    assert measured(model, batches=batches) == plain


@pytest.mark.parametrize('pattern', ['', '^stem|^stages$', '[0-9]$'])
def test_whole_network_in_float32(backbone, pattern):
    """What is in a module goes with it, even in one that is never called."""
    with precision.float32_layers(backbone, pattern):
        errors = measured(backbone)
    assert all(error.alone == error.accumulated == 0
               for error in errors.values())


def test_residual_stream_in_float32(backbone):
    def types():
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
            return [output.dtype for output in backbone(images())]

    assert types() == 4 * [torch.bfloat16]
    with precision.float32_layers(backbone, 'sum$'):
        # Stages without a residual block have no sum.
        assert types() == [torch.float32, torch.bfloat16, torch.float32,
                           torch.float32]
    assert types() == 4 * [torch.bfloat16]


@pytest.mark.parametrize(('pattern', 'message'), [
    ('stages.9', "'stages.9' matches no name .*stages.3.2.local"),
    ('(', 'is not a regular expression'),
])
def test_bad_pattern(backbone, pattern, message):
    with pytest.raises(UserError, match=message), \
            precision.float32_layers(backbone, pattern):
        pass


def test_low_precision_of_the_backbone_only(backbone):
    model = nn.Sequential(backbone)
    assert precision.find_backbone(model) is backbone
    x = images()
    with torch.no_grad():
        wanted = model(x)
        with precision.low_precision(backbone, None):
            same = model(x)
        with precision.low_precision(backbone, torch.bfloat16):
            low = model(x)
        after = model(x)
    for one, other, third, fourth in zip(wanted, same, after, low):
        assert torch.equal(one, other)
        assert torch.equal(one, third)
        assert fourth.dtype == torch.float32
        assert 0 < (fourth - one).norm() / one.norm() < 0.1


def test_model_without_lowformer():
    with pytest.raises(UserError, match='Linear.* no LowFormer'):
        precision.find_backbone(nn.Linear(1, 1))
