import copy
import doctest
import math

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.config import ConfigDict
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from mmlowformer import LowFormer
from mmlowformer.models import lowformer
from mmlowformer.models.blocks import FusedMBConv

# Parameters; MACs in millions at 224x224 and 512x512.
GOLDEN = {
    'b0': (9_642_384, 921, 4885),
    'b1': (13_478_224, 1388, 7352),
    'b15': (24_775_780, 2529, 13366),
    'b2': (35_633_208, 3637, 19187),
    'b3': (52_235_616, 6056, 31884),
    'e1': (9_690_020, 1304, 6811),
    'e2': (17_899_360, 3747, 19575),
    'e3': (36_465_504, 4823, 25442),
}
VARIANTS = list(GOLDEN)
SMALL = dict(
    widths=(8, 8, 16, 32, 260), depths=(1, 2, 1, 2, 2), stem_expand_ratio=2,
    downsample_expand_ratio=2, block=('norm_lowtention', 'norm_mlp', 'local'))


def narrow(arch):
    """A variant's kinds of blocks, but few channels and blocks of them."""
    depths = LowFormer.arch_settings[arch]['depths']
    return dict(variant=arch, widths=SMALL['widths'],
                depths=tuple(min(depth, 2) for depth in depths))


def mostly_slow(*quick):
    """All variants, those that are not ``quick`` for make test-slow."""
    return [arch if arch in quick else
            pytest.param(arch, marks=pytest.mark.slow) for arch in VARIANTS]


def images(height=64, width=64, batch=2):
    return torch.rand(batch, 3, height, width)


def randomise(model):
    """BatchNorm statistics and affine parameters as after training."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return model


def assert_all_equal(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def loss_of(outputs):
    return sum(output.square().mean() for output in outputs)


def test_variants_are_those_of_the_paper():
    assert list(LowFormer.arch_settings) == VARIANTS


@pytest.mark.parametrize('arch', VARIANTS)
def test_parameters(arch):
    with torch.device('meta'):
        model = LowFormer(arch)
    assert sum(p.numel() for p in model.parameters()) == GOLDEN[arch][0]


@pytest.mark.parametrize('arch', VARIANTS)
@pytest.mark.parametrize(('size', 'column'), [(224, 1), (512, 2)])
def test_macs(arch, size, column):
    # Meta tensors count without computing.
    with torch.device('meta'), torch.no_grad(), \
            FlopCounterMode(display=False) as counter:
        LowFormer(arch).eval()(images(size, size, batch=1))
    assert round(counter.get_total_flops() / 2e6) == GOLDEN[arch][column]


@pytest.mark.parametrize('arch', VARIANTS)
def test_forward_and_backward(arch):
    check_forward_and_backward(arch, 64, 64)


@pytest.mark.parametrize('arch', VARIANTS)
def test_forward_and_backward_of_odd_sizes(arch):
    check_forward_and_backward(narrow(arch), 65, 97)


@pytest.mark.parametrize('arch', mostly_slow('b1', 'e1'))
@pytest.mark.parametrize(('height', 'width'), [(250, 333), (33, 33)])
def test_forward_and_backward_of_other_sizes(arch, height, width):
    check_forward_and_backward(arch, height, width)


def check_forward_and_backward(arch, height, width):
    model = LowFormer(arch)
    outputs = model(images(height, width))
    assert [tuple(output.shape) for output in outputs] == [
        (2, channels, math.ceil(height / stride), math.ceil(width / stride))
        for channels, stride in zip(model.out_channels, model.out_strides)]
    loss_of(outputs).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize('arch', mostly_slow('b0', 'e1'))
@pytest.mark.parametrize('frozen_stages', range(5))
def test_frozen_stages(arch, frozen_stages):
    model = LowFormer(arch, out_indices=(1, 2, 3), drop_path_rate=0.2,
                      frozen_stages=frozen_stages)
    prefixes = ('stem.', *(f'stages.{i}.' for i in range(frozen_stages)))
    frozen = {name for name, _ in model.named_parameters()
              if name.startswith(prefixes)}
    assert frozen
    model.train()
    before = copy.deepcopy(model.state_dict())
    outputs = model(images())
    if frozen_stages < 4:
        loss_of(outputs).backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name not in frozen), name
        assert (parameter.grad is None) == (name in frozen), name
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name
    moved = {name for name, value in model.state_dict().items()
             if not torch.equal(value, before[name])}
    assert not any(name.startswith(prefixes) for name in moved)
    assert bool(moved) == (frozen_stages < 4)
    for name, module in model.named_modules():
        if f'{name}.'.startswith(prefixes):
            assert not module.training, name


def test_frozen_before_train_is_called():
    model = LowFormer('b0', frozen_stages=1)
    assert not any(p.requires_grad for p in model.stem.parameters())
    assert not model.stages[0].training


@pytest.mark.parametrize('arch', VARIANTS)
def test_checkpointing_changes_nothing(arch):
    model = LowFormer(narrow(arch), drop_path_rate=0.3).train()
    other = copy.deepcopy(model)
    other.with_cp = True
    x = images()
    results = []
    for each in (model, other):
        torch.manual_seed(1)
        outputs = each(x)
        loss_of(outputs).backward()
        results.append(outputs)
    assert_all_equal(*results)
    assert_all_equal([p.grad for p in other.parameters()],
                     [p.grad for p in model.parameters()])
    # Running statistics and batch counts, too.
    assert_all_equal(list(other.buffers()), list(model.buffers()))


def test_checkpointing_recomputes(monkeypatch):
    calls = []
    forward = FusedMBConv.forward
    monkeypatch.setattr(FusedMBConv, 'forward', lambda self, x: (
        calls.append(1), forward(self, x))[1])
    for with_cp in (False, True):
        calls.clear()
        loss_of(LowFormer(SMALL, with_cp=with_cp)(images())).backward()
        if not with_cp:
            once = len(calls)
    assert len(calls) == 2 * once


@pytest.mark.parametrize('arch', VARIANTS)
def test_drop_path_rises_linearly(arch):
    with torch.device('meta'):
        model = LowFormer(arch, drop_path_rate=0.2)
    # The first block has none; a block's branches share theirs.
    rates = sorted({m.drop_prob for m in model.modules()
                    if isinstance(m, DropPath)})
    n0, n1, n2, n3, n4 = LowFormer.arch_settings[arch]['depths']
    blocks = n0 + n1 - 1 + n2 - 1 + n3 + n4
    assert rates == pytest.approx(
        [0.2 * i / (blocks - 1) for i in range(1, blocks)])
    in_order = [m.drop_prob for m in model.modules()
                if isinstance(m, DropPath)]
    assert in_order == sorted(in_order)


def test_drop_path_only_while_training():
    model = LowFormer(SMALL, drop_path_rate=0.5)
    x = images()
    model.eval()
    assert_all_equal(model(x), model(x))
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    assert not torch.equal(model(x)[-1], model(x)[-1])


@pytest.mark.parametrize('arch', VARIANTS)
def test_batch_order_does_not_matter_in_eval(arch):
    model = randomise(LowFormer(narrow(arch))).eval()
    x = images(batch=3)
    with torch.no_grad():
        outputs, flipped = model(x), model(x.flip(0))
    for one, other in zip(outputs, flipped):
        torch.testing.assert_close(one.flip(0), other, rtol=1e-4, atol=1e-5)


def test_norm_eval():
    model = LowFormer(SMALL, norm_eval=True).train()
    assert model.training
    assert not any(m.training for m in model.modules()
                   if isinstance(m, _BatchNorm))
    before = [buffer.clone() for buffer in model.buffers()]
    model(images())
    assert_all_equal(list(model.buffers()), before)


@pytest.mark.parametrize(('out_indices', 'strides'), [
    (0, (4, )), (-1, (32, )), ([1, 3], (8, 32)), ((-3, -1), (8, 32)),
    ((0, 1, 2, 3), (4, 8, 16, 32))])
def test_out_indices(out_indices, strides):
    given = copy.copy(out_indices)
    model = LowFormer(SMALL, out_indices=out_indices)
    assert out_indices == given
    assert model.out_strides == strides
    outputs = model(images())
    assert isinstance(outputs, tuple)
    assert tuple(o.shape[1] for o in outputs) == model.out_channels
    assert tuple(64 // o.shape[2] for o in outputs) == strides
    loss_of(outputs).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_input_channels_and_other_norms():
    model = LowFormer(SMALL, in_channels=5, act_cfg=dict(type='ReLU'),
                      norm_cfg=dict(type='GN', num_groups=2))
    assert model(torch.rand(1, 5, 32, 32))[0].shape == (1, 8, 8, 8)
    assert not any(isinstance(m, _BatchNorm) for m in model.modules())
    assert not any(isinstance(m, torch.nn.Hardswish) for m in model.modules())


def test_arch_dict_equals_named_arch():
    settings = ConfigDict(copy.deepcopy(LowFormer.arch_settings['b0']))
    names = LowFormer('b0').state_dict().keys()
    assert LowFormer(settings).state_dict().keys() == names


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(arch='b4'), r"no arch 'b4'.*b0, b1, b15, b2, b3, e1, e2, e3"),
    (dict(arch='lowformer_b15'), "Did you mean 'b15'"),
    (dict(arch=dict(SMALL, width=1)), "'width'.*Did you mean 'widths'"),
    (dict(arch=dict(widths=SMALL['widths'])), 'lacks depths'),
    (dict(arch=dict(SMALL, depths=(0, 0, 1, 2, 2))), 'depths of the arch'),
    (dict(arch=dict(SMALL, widths=(8, 8, 8, 8))), 'widths of the arch'),
    (dict(arch=dict(SMALL, block=('norm_mpl', ))), "Did you mean 'norm_mlp'"),
    (dict(arch=dict(SMALL, block=())), 'at least one branch'),
    (dict(arch=dict(SMALL, block=('lowtention', 'norm_lowtention'))), 'once'),
    (dict(arch=dict(SMALL, stem_expand_ratio=0)), 'positive'),
    (dict(out_indices=4), 'has 4; allowed are 0 to 3'),
    (dict(out_indices=(0, -5)), 'has -5'),
    (dict(out_indices=(2, 1)), 'increasing'),
    (dict(out_indices=(3, -1)), 'increasing'),
    (dict(out_indices=()), 'at least one'),
    (dict(frozen_stages=5), 'frozen_stages is 5; allowed are -1'),
    (dict(frozen_stages=-2), 'frozen_stages is -2'),
    (dict(drop_path_rate=1.), 'drop_path_rate'),
    (dict(pretrained='open-mmlab://resnet50_v1c'),
     'weights of another backbone'),
    (dict(pretrained='w.pth', init_cfg=dict(type='Pretrained', checkpoint='')),
     "pretrained='w.pth' and init_cfg are both given"),
])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LowFormer(**arguments)


def test_arch_of_wrong_type():
    with pytest.raises(TypeError, match='not int'):
        LowFormer(arch=1)


@pytest.mark.parametrize('arch', VARIANTS)
def test_layer_depth(arch):
    with torch.device('meta'):
        model = LowFormer(arch)
    depths = [model.get_layer_depth(f'backbone.{name}', 'backbone.')
              for name, _ in model.named_parameters()]
    layers = [layer for layer, _ in depths]
    count = sum(len(stage) for stage in model.stages) + 2
    assert layers == sorted(layers)
    assert set(layers) == set(range(count - 1))
    assert {total for _, total in depths} == {count}
    assert model.get_layer_depth('head.weight', 'backbone.') == \
        (count - 1, count)


def test_docstring_example_prints_what_it_says():
    assert doctest.testmod(lowformer).attempted > 0
    assert doctest.testmod(lowformer).failed == 0


@pytest.mark.parametrize('name', ['B1.5', 'b1.5', 'B15', 'b15'])
def test_names_as_in_the_paper(name):
    with torch.device('meta'):
        assert LowFormer(name).arch == LowFormer.arch_settings['b15']


def test_block_may_be_an_iterator():
    model = LowFormer(dict(SMALL, block=iter(SMALL['block'])))
    assert list(model.state_dict()) == list(LowFormer(SMALL).state_dict())


@pytest.mark.parametrize('with_cp', [False, True])
def test_stages_are_called(with_cp):
    """What listens at a stage, as CAMs and distillation do, hears it."""
    model = LowFormer(SMALL, with_cp=with_cp)
    heard = {}
    for name in ('stem', *(f'stages.{i}' for i in range(4))):
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name:
            heard.update({name: output}))
    outputs = model(images())
    assert list(heard) == ['stem', 'stages.0', 'stages.1', 'stages.2',
                           'stages.3']
    assert all(one is other for one, other in zip(
        outputs, list(heard.values())[1:]))


def test_own_initialization():
    model = LowFormer(SMALL, init_cfg=dict(
        type='Constant', layer='Conv2d', val=0.5, bias=0.25))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            assert (module.weight == 0.5).all()
            assert module.bias is None or (module.bias == 0.25).all()


def test_pretrained_as_other_backbones_take_it(tmp_path):
    path = str(tmp_path / 'weights.pth')
    source = LowFormer(SMALL)
    torch.save(source.state_dict(), path)
    model = LowFormer(SMALL, pretrained=path)
    model.init_weights()
    assert torch.equal(model.stem[0].conv.weight, source.stem[0].conv.weight)


@pytest.mark.parametrize('deployed', [False, True])
@pytest.mark.parametrize('arch', VARIANTS)
def test_no_images(arch, deployed):
    model = LowFormer(narrow(arch)).eval()
    if deployed:
        model.switch_to_deploy()
    with torch.no_grad():
        outputs = model(torch.empty(0, 3, 64, 96))
    assert [tuple(output.shape) for output in outputs] == [
        (0, channels, 64 // stride, 96 // stride) for channels, stride in
        zip(model.out_channels, model.out_strides)]


def test_with_cp_can_be_compiled():
    """A compiler chooses by itself what it keeps for the backward pass."""
    backbone = LowFormer(SMALL, with_cp=True).train()
    torch.compile(backbone, backend='eager')(
        torch.rand(2, 3, 64, 64))[-1].sum().backward()
    assert all(parameter.grad is not None
               for parameter in backbone.stages[-1].parameters())
