"""Refuse a batch of one image that BatchNorm cannot learn from."""
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ...errors import UserError
from ...models import unwrap_model
from ...registry import HOOKS
from ...utils.text import counted
from . import SwitchableHook
from .progress_bar import by_iteration


@HOOKS.register_module()
class BatchNormCheckHook(SwitchableHook):
    """Refuses a training whose BatchNorm would get one value per channel.

    That happens where a batch has one image, whose feature map has shrunk to
    one position. Only if there is such a batch, the hook runs the model once,
    in eval mode.

    Args:
        enabled (bool): Whether to check. Defaults to True.
    """

    def before_train(self, runner: Runner) -> None:
        """Look for the batch, then for the BatchNorm."""
        loader: Any = runner.train_dataloader
        if not _has_single_image_batch(loader, by_iteration(runner)):
            return
        with _kept_random_states():
            image = pseudo_collate([loader.dataset[0]])
        name = _norm_of_one_value(unwrap_model(runner.model), image)
        if name:
            raise UserError(
                f'{name} cannot learn from a batch of one image, whose '
                'feature map has one position there, and such a batch comes '
                f'up ({counted(len(loader.dataset), "image")} in batches of '
                f'{loader.batch_sampler.batch_size}). Set --cfg-options '
                'train_dataloader.drop_last=True, another batch size, or '
                'larger images')


def _has_single_image_batch(loader: DataLoader, endless: bool) -> bool:
    """Whether a batch has one image; endless samplers never cut a batch."""
    batches: Any = getattr(loader, 'batch_sampler', None)
    size = getattr(batches, 'batch_size', 0)
    return size == 1 or (
        size > 1 and not endless and not getattr(batches, 'drop_last', True)
        and len(batches.sampler) % size == 1)


@contextmanager
def _kept_random_states() -> Iterator[None]:
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])


def _norm_of_one_value(model: BaseModel, image: dict) -> str:
    """The first trained BatchNorm that gets one value per channel."""
    model.train()
    trained = {name: module for name, module in model.named_modules()
               if isinstance(module, nn.modules.batchnorm._BatchNorm)
               and module.training}
    found: list[str] = []

    def look(name: str):
        return lambda module, inputs: found.append(name) if (
            inputs[0].numel() == inputs[0].shape[1]) else None

    handles = [module.register_forward_pre_hook(look(name))
               for name, module in trained.items()]
    model.eval()
    # The training itself reports any other error.
    with suppress(Exception), torch.no_grad(), _kept_random_states():
        model(**model.data_preprocessor(image), mode='tensor')
    model.train()
    for handle in handles:
        handle.remove()
    return next(iter(found), '')
