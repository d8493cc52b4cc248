"""Faster trainings: bfloat16, channels-last, fused optimizers, compiler."""
import copy
import re
from argparse import ArgumentParser

import pytest
import torch
from mmdet.models.losses import FocalLoss
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, init_default_scope
from mmengine.runner import Runner
from torch import distributed, nn
from torch.nn import functional as F

from mmlowformer import LowFormer
from mmlowformer.deployment.compiled_training import compile_parts
from mmlowformer.engine import UserError, check_checkpoint
from mmlowformer.engine.cli import add_speed_arguments
from mmlowformer.engine.hooks.memory_format import match_state
from mmlowformer.engine.hooks.run_summary import describe_speed
from mmlowformer.engine.optimizers.bfloat16 import BFloat16OptimWrapper
from mmlowformer.engine.run_summary import precision
from mmlowformer.engine.speed_options import apply_speed_options

from ..helpers import (
    ROOT,
    TINY,
    TINY_DETECTOR,
    forget_runs,
)

BF16 = 'mmlowformer.BFloat16OptimWrapper'
FORMAT = 'mmlowformer.MemoryFormatHook'
COMPILE = dict(type='mmlowformer.CompileHook', backend='aot_eager')
# At higher rates, and from some seeds, rounding alone changes the curve.
ADAMW = dict(type='AdamW', lr=1e-4, weight_decay=1e-4)
CLASSES = 3


@pytest.fixture(autouse=True)
def _forget_runs(safe_loading):
    forget_runs()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope='module')
def cfg(tmp_path_factory):
    file = tmp_path_factory.mktemp('speed') / 'tiny.py'
    file.write_text(TINY_DETECTOR)
    return Config.fromfile(file)


class Losses(Hook):
    """Remembers the loss of each iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.values, self.dtypes = [], set()

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        self.values.append(outputs['loss'].item())
        self.dtypes.add(outputs['loss'].dtype)


def images(iterations=1, sizes=((64, 64), )):
    """Two images of objects for each iteration, of the sizes in turn.

    MMEngine sleeps for two seconds at the end of a data set.
    """
    batches = [demo_mm_inputs(2, [[3, *size]] * 2, num_items=[3, 3],
                              num_classes=CLASSES, use_box_type=True)
               for size in sizes]
    pairs = [[dict(inputs=image, data_samples=sample) for image, sample
              in zip(packed['inputs'], packed['data_samples'])]
             for packed in batches]
    return [item for iteration in range(iterations)
            for item in pairs[iteration % len(pairs)]]


@pytest.fixture
def train(cfg, tmp_path):
    """Train the tiny detector; returns the Runner and its losses."""
    def run(iterations=6, *, model=None, hooks=(), wrapper=None,
            optimizer=None, channels_last='auto', name='run', resume=None,
            saved=100, sizes=((64, 64), ), **settings_of_runner):
        forget_runs()
        torch.manual_seed(0)
        init_default_scope('mmdet')
        losses = Losses()
        settings = copy.deepcopy(cfg)
        settings.merge_from_dict(model or {})
        runner = Runner(
            settings.model, str(tmp_path / name), default_scope='mmdet',
            train_dataloader=dict(
                batch_size=2, num_workers=0, dataset=images(iterations, sizes),
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='pseudo_collate')),
            train_cfg=dict(by_epoch=False, max_iters=iterations),
            optim_wrapper=dict(
                dict(optimizer=dict(ADAMW, **(optimizer or {})),
                     paramwise_cfg=dict(norm_decay_mult=0.)),
                **(wrapper or {})),
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', by_epoch=False,
                                interval=saved),
                memory_format=dict(type=FORMAT, channels_last=channels_last)),
            load_from=resume, resume=bool(resume), randomness=dict(seed=1),
            custom_hooks=[*hooks, losses], **settings_of_runner)
        runner.train()
        return runner, losses
    return run


def assert_close(losses, expected, tolerance):
    assert losses == pytest.approx(expected, rel=tolerance, abs=0)


def is_channels_last(weight):
    return (weight.is_contiguous(memory_format=torch.channels_last)
            and not weight.is_contiguous())


def weights(runner):
    return {name: value.clone() for name, value
            in runner.model.state_dict().items()}


def test_same_curve_in_float32(train):
    """Over 50 iterations."""
    _, plain = train(50)
    runner, fast = train(50, channels_last=True, optimizer=dict(fused=True))
    assert is_channels_last(runner.model.backbone.stem[0].conv.weight)
    assert fast.values != plain.values
    assert plain.values[-1] < 0.8 * plain.values[0]
    assert_close(fast.values, plain.values, 1e-3)


def test_bfloat16_learns(train):
    """On float32 weights, with losses in float32."""
    runner, losses = train(30, optimizer=dict(lr=1e-3), wrapper=dict(
        type=BF16, clip_grad=dict(max_norm=35)))
    assert losses.values[-1] < 0.8 * losses.values[0]
    assert losses.dtypes == {torch.float32}
    assert {weight.dtype for weight in runner.model.parameters()} == {
        torch.float32}
    assert runner.message_hub.get_scalar('train/grad_norm').current() > 0
    # By rule.
    assert describe_speed(runner) == 'channels-last'


def test_what_is_computed_in_bfloat16(cfg):
    """Convolutions; decoding of boxes and losses are in float32."""
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model).train()
    wrapper = build_optim_wrapper(model, dict(
        type=BF16, optimizer=dict(type='SGD', lr=0.01)))
    seen = {}

    def note(name):
        return lambda module, inputs, output: seen.update(
            {name: (inputs[0].dtype, output.dtype)})

    model.bbox_head.retina_cls.register_forward_hook(note('conv'))
    model.bbox_head.loss_cls.register_forward_hook(note('focal'))
    model.bbox_head.loss_bbox.register_forward_hook(note('giou'))
    batch = images()
    data = {key: [item[key] for item in batch] for key in batch[0]}
    with wrapper.optim_context(model):
        model(**model.data_preprocessor(data, True), mode='loss')
        assert 'forward' in vars(model.bbox_head.loss_cls)
    assert seen == dict(conv=(torch.bfloat16, torch.bfloat16),
                        focal=(torch.float32, torch.float32),
                        giou=(torch.float32, torch.float32))
    assert not {'forward', 'loss_by_feat'} & {
        name for module in model.modules() for name in vars(module)}


class Scores(nn.Module):
    """A loss on scores of a low precision."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.loss = FocalLoss()


@pytest.mark.parametrize('device', [
    'cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
def test_focal_loss_of_bfloat16(device):
    """Equal to MMDetection's in torch; mmcv's needs float32 on a GPU."""
    model = Scores().to(device)
    wrapper = BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), 0.1))
    scores = torch.randn(50, CLASSES, device=device).bfloat16()
    scores.requires_grad_()
    labels = torch.randint(CLASSES + 1, (50, ), device=device)
    one_hot = F.one_hot(labels, CLASSES + 1)[:, :CLASSES]
    expected = py_sigmoid_focal_loss(scores.float(), one_hot)
    with wrapper.optim_context(model):
        loss = model.loss(scores, labels)
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(value, scores)[0]
                 for value in (loss, expected)]
    assert gradients[0].dtype == torch.bfloat16
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('capabilities', [{}, {'avx512_bf16': True}])
def test_emulation_is_told(monkeypatch, log, capabilities):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: capabilities,
                        raising=False)
    weight = nn.Parameter(torch.zeros(1))
    BFloat16OptimWrapper(torch.optim.SGD([weight], 0.1))
    assert ('train without --amp' in log.text) == (not capabilities)


ACCUMULATED = dict(accumulative_counts=2, clip_grad=dict(max_norm=1.))
EMA = dict(type='EMAHook', momentum=0.1)


@pytest.mark.parametrize(('before', 'after'), [
    (True, False), (False, True), (True, True)])
def test_resumed_with_another_memory_format(train, tmp_path, before, after):
    """Averaged, accumulated, fused: the same as without a stop."""
    settings = dict(hooks=[EMA], wrapper=ACCUMULATED,
                    optimizer=dict(fused=True))
    train(4, channels_last=before, saved=4, **settings)
    file = tmp_path / 'run/iter_4.pth'
    saved = check_checkpoint(file)
    tensors = [*saved['state_dict'].values(),
               *saved['ema_state_dict'].values(),
               *(value for state in saved['optimizer']['state'].values()
                 for value in state.values())]
    assert all(value.is_contiguous() for value in tensors)
    resumed, losses = train(8, channels_last=after, name='resumed',
                            resume=str(file), **settings)
    straight, expected = train(8, name='straight', **settings)
    assert is_channels_last(
        resumed.model.backbone.stem[0].conv.weight) == after
    assert len(losses.values) == 4
    assert_close(losses.values, expected.values[4:], 1e-3)
    ema, expected_ema = (
        next(hook for hook in runner.hooks if isinstance(hook, EMAHook)
             ).ema_model.state_dict() for runner in (resumed, straight))
    for name, value in expected_ema.items():
        torch.testing.assert_close(ema[name], value, rtol=1e-2, atol=1e-3)


def stepped(fused, strides):
    """A weight after a step on a state with the strides of another format."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(4, 3, 3, 3))
    weight.data = weight.data.contiguous(memory_format=strides)
    gradient = torch.randn(4, 3, 3, 3)
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=fused)
    for _ in range(2):
        weight.grad = gradient.clone(memory_format=torch.preserve_format
                                     ).contiguous(memory_format=strides)
        optimizer.step()
        state = optimizer.state[weight]
        for name in ('exp_avg', 'exp_avg_sq'):
            state[name] = state[name].contiguous()
        match_state(optimizer)
        gradient = gradient.square()
    return weight.detach()


def test_state_in_another_memory_format():
    """torch's fused AdamW for CPUs ignores strides."""
    torch.testing.assert_close(stepped(True, torch.channels_last),
                               stepped(False, torch.contiguous_format))


def test_fused_is_the_configs_choice(train, tmp_path):
    """Also if the checkpoint was trained without, and the reverse."""
    train(2, saved=2)
    file = str(tmp_path / 'run/iter_2.pth')
    runner, _ = train(4, name='fused', optimizer=dict(fused=True),
                      resume=file)
    groups = runner.optim_wrapper.optimizer.param_groups
    assert all(group['fused'] for group in groups)
    assert 'fused AdamW' in describe_speed(runner)
    runner, _ = train(4, name='foreach', optimizer=dict(foreach=True),
                      resume=file)
    assert describe_speed(runner) == 'foreach AdamW'


def test_fused_with_layer_decay(cfg):
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, dict(
        type=BF16, optimizer=dict(ADAMW, fused=True),
        constructor='mmlowformer.LayerDecayOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.5, norm_decay_mult=0.)))
    assert isinstance(wrapper, BFloat16OptimWrapper)
    assert all(group['fused'] for group in wrapper.param_groups)
    assert len({group['lr'] for group in wrapper.param_groups}) > 3


def test_snippet_of_the_training_page(train, tmp_path):
    page = (ROOT / 'docs/training.md').read_text(encoding='utf-8')
    snippet, = re.findall(
        r'executed by tests/engine/test_speed.py -->\n```python\n(.*?)```',
        page, re.S)
    names = {}
    exec(snippet, names)
    assert names['default_hooks']['memory_format'] == dict(type=FORMAT)
    runner, _ = train(2, wrapper=names['optim_wrapper'])
    assert describe_speed(runner) == 'channels-last, fused AdamW'


def test_wrong_memory_format():
    with pytest.raises(ValueError, match="'auto'"):
        HOOKS.build(dict(type=FORMAT, channels_last='yes'))


def test_plain_float32_stays_as_it_is(train):
    runner, _ = train(1)
    assert not is_channels_last(runner.model.backbone.stem[0].conv.weight)
    assert describe_speed(runner) == ''


@pytest.mark.parametrize(('with_cp', 'kind', 'compiler', 'tolerance'), [
    (True, 'OptimWrapper', 'aot_eager', 1e-4),
    (False, BF16, 'aot_eager', 1e-2),
    pytest.param(True, 'OptimWrapper', 'inductor', 1e-4,
                 marks=pytest.mark.slow)])
def test_compiled_training(train, tmp_path, with_cp, kind, compiler,
                           tolerance):
    """With averaged weights, accumulation, and images of several sizes."""
    settings = dict(wrapper=dict(ACCUMULATED, type=kind),
                    sizes=[(64, 64), (96, 128)],
                    model={'model.backbone.with_cp': with_cp})
    plain, expected = train(4, hooks=[EMA], **settings)
    runner, losses = train(4, hooks=[EMA, dict(COMPILE, backend=compiler)],
                           name='fast', **settings)
    log, = (tmp_path / 'fast').glob('2*/2*.log')
    assert 'Compiled in 0:' in log.read_text()
    assert 'compiled backbone, neck, bbox_head' in describe_speed(runner)
    assert_close(losses.values, expected.values, tolerance)
    assert weights(runner).keys() == weights(plain).keys()
    forward = vars(runner.model.backbone)['forward']
    assert forward._compiled is not None
    assert copy.deepcopy(forward)._compiled is None


def test_validation_is_not_compiled():
    model = LowFormer(TINY)
    assert compile_parts(model, backend='aot_eager') == ['']
    model.eval()(torch.rand(1, 3, 64, 64))
    assert vars(model)['forward']._compiled is None
    model.train()(torch.rand(2, 3, 64, 64))
    assert vars(model)['forward']._compiled is not None


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x, scale):
        return self.conv(x) * scale


def test_a_model_that_cannot_be_compiled():
    with pytest.raises(UserError, match='Odd cannot .* without --compile'):
        compile_parts(Odd())


@pytest.fixture
def group(tmp_path, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    distributed.init_process_group(
        'gloo', f'file://{tmp_path}/rendezvous', rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures('group')
@pytest.mark.parametrize(('kind', 'hooks', 'tolerance'), [
    (BF16, [], 1e-6), ('OptimWrapper', [COMPILE], 1e-4)])
def test_distributed(train, kind, hooks, tolerance):
    """Gradients are reduced in the memory format of the weights."""
    settings = dict(wrapper=dict(ACCUMULATED, type=kind), channels_last=True,
                    optimizer=dict(fused=True))
    _, expected = train(6, **settings)
    runner, losses = train(
        6, hooks=hooks, name='distributed', launcher='pytorch',
        cfg=dict(model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None,
            broadcast_buffers=False)), **settings)
    assert isinstance(runner.model, MMDistributedDataParallel)
    assert_close(losses.values, expected.values, tolerance)


def applied(text, cfg, **changes):
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(changes)
    parser = ArgumentParser()
    add_speed_arguments(parser)
    apply_speed_options(cfg, parser.parse_args(text.split()))
    return cfg


@pytest.mark.parametrize(('text', 'message'), [
    ('--amp', '--amp fp16 needs a GPU; .* --amp bf16'),
    ('--amp fp16', '--amp bf16'),
    ('--compile fast', '--compile fast: the modes are default, .*autotune'),
    ('--compile', 'omit one')])
def test_impossible_options(cfg, monkeypatch, text, message):
    monkeypatch.setattr('mmlowformer.engine.speed_options.get_device',
                        lambda: 'cpu')
    with pytest.raises(UserError, match=message):
        applied(text, cfg, compile=True)


@pytest.mark.parametrize(('device', 'capabilities', 'kind'), [
    ('cpu', {}, 'OptimWrapper'), ('cpu', {'amx_bf16': True}, BF16),
    ('mps', {'bf16': True}, 'OptimWrapper')])
def test_amp_auto(cfg, monkeypatch, device, capabilities, kind):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: capabilities,
                        raising=False)
    monkeypatch.setattr('mmlowformer.engine.speed_options.get_device',
                        lambda: device)
    assert applied('--amp auto', cfg).optim_wrapper.type == kind


def test_amp_replaces_the_configs_own(cfg, monkeypatch):
    changed = {'optim_wrapper.type': 'AmpOptimWrapper',
               'optim_wrapper.dtype': 'float16',
               'optim_wrapper.loss_scale': 'dynamic',
               'optim_wrapper.accumulative_counts': 2}
    wrapper = applied('--amp bf16', cfg, **changed).optim_wrapper
    assert wrapper.type == BF16
    assert wrapper.accumulative_counts == 2
    assert not {'dtype', 'loss_scale'} & set(wrapper)
    assert precision(Config(dict(optim_wrapper=wrapper)), False) == \
        'mixed precision (bfloat16)'
    monkeypatch.setattr('mmlowformer.engine.speed_options.get_device',
                        lambda: 'cuda')
    wrapper = applied('--amp', cfg).optim_wrapper
    assert (wrapper.type, wrapper.dtype) == ('AmpOptimWrapper', 'float16')


@pytest.mark.parametrize(('text', 'value'), [
    ('', 'auto'), ('--channels-last', True), ('--no-channels-last', False)])
def test_channels_last_option(cfg, text, value):
    hook = applied(text, cfg).default_hooks.memory_format
    assert HOOKS.build(hook).channels_last == value


@pytest.mark.parametrize(('kind', 'kept'), [
    ('AdamW', True), ('SGD', True), ('RMSprop', False)])
def test_fused_where_torch_has_it(cfg, kind, kept):
    changed = applied('', cfg, **{'optim_wrapper.optimizer.type': kind})
    assert ('fused' in changed.optim_wrapper.optimizer) == kept


@pytest.mark.parametrize(('text', 'mode'), [
    ('--compile', 'default'), ('--compile max-autotune', 'max-autotune')])
def test_compile_option(cfg, text, mode):
    hook = applied(text, cfg).default_hooks.compile
    assert HOOKS.build(hook).settings == dict(mode=mode, backend='inductor')


def test_plain_wrapper_loads_the_state(cfg):
    """A training in bfloat16 is resumed in float32, and the reverse."""
    weight = nn.Parameter(torch.ones(3))
    states = []
    for kind in (BFloat16OptimWrapper, OptimWrapper):
        wrapper = kind(torch.optim.AdamW([weight], lr=0.1))
        wrapper.update_params(weight.sum())
        states.append(wrapper.state_dict())
        for state in states:
            wrapper.load_state_dict(copy.deepcopy(state))
    # What MMEngine's AmpOptimWrapper saves on a GPU.
    wrapper.load_state_dict(dict(copy.deepcopy(states[0]), loss_scaler={}))
