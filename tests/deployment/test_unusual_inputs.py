"""Models and examples that cannot be deployed, or only with care."""
import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmlowformer import LowFormer, deploy
from mmlowformer.errors import UserError

from ..models.test_lowformer import SMALL
from .test_bn_folding import randomise
from .test_deploy import largest_error, outputs_of


def without_values(model):
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_var.fill_(float('nan'))
    return model


def to_fp8(model):
    return model.to(torch.float8_e4m3fn)


def to_meta(model):
    return model.to('meta')


def copied_in_inference_mode(model):
    with torch.inference_mode():
        return copy.deepcopy(model)


@pytest.mark.parametrize(('change', 'word'), [
    (nn.Module.double, 'float64'), (nn.Module.bfloat16, 'bfloat16'),
    (to_meta, 'meta'), (to_fp8, 'float8'), (without_values, 'finite'),
    (lambda model: torch.compile(model, backend='eager'), 'is compiled')])
def test_weights_that_cannot_be_deployed(change, word):
    with pytest.raises(UserError, match=word):
        deploy(change(LowFormer(SMALL).eval()), measure=False)


def test_in_inference_mode():
    model, images = LowFormer(SMALL).eval(), torch.rand(1, 3, 64, 64)
    expected = model(images)
    with torch.inference_mode():
        outputs = deploy(model, measure=False)(images)
    assert largest_error(outputs, expected) < 1e-4


@pytest.mark.parametrize(('change', 'word'), [
    (to_fp8, 'float8'), (to_meta, 'meta'),
    (copied_in_inference_mode, 'inference mode')])
def test_weights_that_cannot_be_rewritten(change, word):
    with pytest.raises(UserError, match=word):
        change(LowFormer(SMALL).eval()).switch_to_deploy()


@pytest.mark.parametrize('dtype', ['fp8', torch.float64, None, ['fp32']])
def test_types_that_are_none(dtype):
    with pytest.raises(UserError, match='fp32, bf16, fp16'):
        deploy(LowFormer(SMALL).eval(), dtype=dtype)


IMAGES = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
NESTED = torch.nested.nested_tensor([IMAGES[0], IMAGES[0, :, :32]])


@pytest.mark.parametrize(('example', 'word'), [
    (NESTED, 'one size'), (IMAGES.to_sparse(), 'dense'),
    (IMAGES[:0], 'at least one'), (IMAGES.numpy(), 'a tensor'),
    ([IMAGES], 'a tensor'), (IMAGES * float('nan'), 'finite'),
    (IMAGES[0], 'shape')])
def test_examples_that_tell_nothing(example, word):
    with pytest.raises(UserError, match=word):
        deploy(LowFormer(SMALL).eval(), measure=False, example=example)


@pytest.mark.parametrize(('dtype', 'tolerance'), [
    (torch.float64, 1e-5), (torch.bfloat16, 0.1), (torch.float8_e4m3fn, 0.5)])
def test_images_of_other_types(dtype, tolerance):
    model = randomise(LowFormer(SMALL))
    images = IMAGES.to(dtype)
    deployed = deploy(model, measure=False, example=images)
    outputs = outputs_of(deployed, images)
    assert outputs[0].dtype == torch.float32
    assert largest_error(outputs, outputs_of(model, IMAGES)) < tolerance
    with pytest.raises(UserError, match='nested'):
        deployed(NESTED)


@pytest.mark.parametrize('cast', [
    nn.Module.double, nn.Module.half, nn.Module.bfloat16])
def test_cast_once_deployed(cast):
    model = randomise(LowFormer(SMALL))
    outputs = outputs_of(cast(deploy(model, measure=False)), IMAGES)
    assert largest_error(outputs, outputs_of(model, IMAGES)) < 0.1


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize('again', [
    saved, copy.copy, copy.deepcopy, lambda model: deploy(model)])
def test_once_more(again):
    """Models that are saved, copied or deployed, before and afterwards."""
    model = randomise(LowFormer(SMALL))
    expected = outputs_of(model, IMAGES)
    for deployed in (deploy(again(model)), again(deploy(model))):
        assert largest_error(outputs_of(deployed, IMAGES), expected) < 1e-5
