"""Trainings that compute NaN."""
import math

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmlowformer.engine import CheckNaNHook, UserError, check_checkpoint


class Line(BaseModel):
    """Its loss and its gradient are what the data say."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=(self.weight * inputs).sum())


class Skips(OptimWrapper):
    """As automatic mixed precision does with what overflows."""

    def update_params(self, loss, **kwargs):
        if loss.isfinite():
            super().update_params(loss, **kwargs)


def train(folder, losses, wrapper=OptimWrapper, learning_rate=0.1,
          interval=1, **saving):
    model = Line()
    runner = Runner(
        model, str(folder), experiment_name=folder.name,
        train_dataloader=DataLoader(
            [dict(inputs=torch.tensor([loss])) for loss in losses]),
        optim_wrapper=wrapper(torch.optim.SGD(
            model.parameters(), learning_rate)),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        default_hooks=dict(checkpoint=dict(
            type=CheckpointHook, interval=interval, **saving)))
    runner.register_hook(CheckNaNHook())
    runner.train()


def saved(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def test_all_is_well(tmp_path):
    train(tmp_path, [1., 2.])
    assert saved(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']


def test_reading_the_loss_is_no_warning(tmp_path, recwarn):
    torch.set_warn_always(True)
    try:
        train(tmp_path, [1.])
    finally:
        torch.set_warn_always(False)
    assert not [str(warning.message) for warning in recwarn
                if 'requires_grad' in str(warning.message)]


def test_weights_are_gone(tmp_path):
    with pytest.raises(UserError, match='after iteration 2: weight holds NaN'):
        train(tmp_path, [1., math.nan, 1.], by_epoch=False)
    assert saved(tmp_path) == ['iter_1.pth']
    state = check_checkpoint(tmp_path / 'iter_1.pth')['state_dict']
    assert state['weight'].isfinite().all()


def test_loss_of_the_next_step_would_tell(tmp_path):
    """The loss is finite, the step is not."""
    for by_epoch in (True, False):
        folder = tmp_path / f'{by_epoch}'
        with pytest.raises(UserError, match='iteration 1: weight holds NaN'):
            train(folder, [1.], learning_rate=math.inf, by_epoch=by_epoch)
        assert not saved(folder)


def test_steps_that_are_skipped(tmp_path):
    train(tmp_path, [math.nan] * 20 + [1.], Skips)
    assert saved(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']


def test_loss_that_stays_so(tmp_path):
    with pytest.raises(UserError, match='after iteration 51: the loss was inf '
                       '50 times in a row'):
        train(tmp_path, [1.] + [math.inf] * 60, Skips)
