"""DeployHook in a Runner that trains, averages and validates."""
import copy

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mmlowformer import LowFormer, engine

from ..helpers import forget_runs
from ..models.test_lowformer import SMALL


@pytest.fixture(autouse=True)
def _forget_runs():
    forget_runs()


class Pooled(BaseModel):
    """The smallest model around a backbone."""

    def __init__(self):
        super().__init__()
        self.backbone = LowFormer(SMALL, out_indices=(3, ))
        self.outputs = []

    def forward(self, x, mode='tensor'):
        pooled = self.backbone(x)[0].mean((2, 3))
        if mode == 'loss':
            return dict(loss=pooled.pow(2).mean())
        self.outputs.append(pooled)
        return [pooled]


class Watch(Hook):
    """Looks at the model while it validates."""

    def __init__(self, x):
        self.x = x
        self.seen = []

    def after_val_iter(self, runner, *_, **__):
        # Deployed networks are channels-last, plain ones are not here.
        output = runner.model.backbone(self.x)[0]
        state = copy.deepcopy(runner.model.backbone.state_dict())
        self.seen.append((output, state))


def test_deployed_once(tmp_path):
    """Also if two configs name the hook."""
    model = Pooled()
    runner = Runner(model, str(tmp_path))
    hooks = [HOOKS.build(dict(type='mmlowformer.DeployHook'))
             for _ in range(2)]
    for hook in hooks:
        hook.before_test_epoch(runner)
    forward = vars(model.backbone)['forward']
    assert forward.part is not model.backbone
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            forward(x)[0], LowFormer.forward(model.backbone.eval(), x)[0],
            rtol=0, atol=1e-5)
    for hook in hooks:
        hook.after_test_epoch(runner)
    assert 'forward' not in vars(model.backbone)


def test_other_types(tmp_path):
    model = Pooled()
    hook = HOOKS.build(dict(type='mmlowformer.DeployHook', dtype='bf16'))
    hook.before_val_epoch(Runner(model, str(tmp_path)))
    forward = vars(model.backbone)['forward']
    assert next(forward.part.parameters()).dtype == torch.bfloat16
    output, = forward(torch.rand(1, 3, 64, 64))
    assert output.dtype == torch.float32


@pytest.mark.usefixtures('safe_loading')
@pytest.mark.parametrize('averaged', [False, True])
def test_validates_with_a_deployed_copy(tmp_path, averaged):
    x = torch.rand(2, 3, 64, 64)
    hooks = [dict(type='EMAHook', momentum=0.5)] if averaged else []
    watch = Watch(x)
    loader = torch.utils.data.DataLoader(
        list(x), batch_size=2, collate_fn=lambda items: dict(
            x=torch.stack(items)))
    runner = Runner(
        Pooled(), str(tmp_path), train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2), val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_evaluator=dict(type='DumpResults',
                           out_file_path=str(tmp_path / 'out.pkl')),
        custom_hooks=[*hooks, dict(type='mmlowformer.DeployHook'), watch])
    with torch.no_grad():
        for module in runner.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
    runner.train()
    assert len(watch.seen) == 2
    for output, state in watch.seen:
        plain = LowFormer(SMALL, out_indices=(3, ))
        plain.load_state_dict(state)
        expected = plain.eval()(x)[0]
        assert output.is_contiguous(memory_format=torch.channels_last)
        assert not torch.equal(output, expected)
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5
                                   * expected.abs().max().item())
    # The model itself is the one that was trained, and computes again.
    backbone = runner.model.backbone
    assert 'forward' not in vars(backbone)
    assert any('.bn.' in name for name in backbone.state_dict())
    saved = engine.check_checkpoint(tmp_path / 'epoch_2.pth')
    assert any('.bn.' in name for name in saved['state_dict'])
    backbone.train()
