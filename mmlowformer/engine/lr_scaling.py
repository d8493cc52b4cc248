"""Batch size and the learning rate that belongs to it."""
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ..errors import UserError
from .hooks.progress import by_iteration


def effective_batch_size(cfg: Config, world_size: int) -> int:
    """Images per optimizer step: processes x batch x accumulation."""
    return (world_size * cfg.train_dataloader.batch_size
            * cfg.optim_wrapper.get('accumulative_counts', 1))


def base_batch_size(cfg: Config) -> int | None:
    """Images per step that the learning rate was chosen for, if known."""
    return (cfg.get('auto_scale_lr') or {}).get('base_batch_size')


def scale_learning_rate(cfg: Config, world_size: int) -> None:
    """Scale the learning rate linearly with the effective batch size.

    Unlike MMEngine's own ``auto_scale_lr``, this counts gradient accumulation.
    """
    base = base_batch_size(cfg)
    if base is None:
        raise UserError(
            '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in '
            'the config: the batch size that its learning rate was chosen for')
    optimizer = cfg.optim_wrapper.get('optimizer')
    if optimizer is None or 'lr' not in optimizer:
        raise UserError('--auto-scale-lr needs optim_wrapper.optimizer.lr in '
                        'the config')
    optimizer.lr *= effective_batch_size(cfg, world_size) / base


def describe_batch(cfg: Config, world_size: int,
                   recipe_lr: float | None) -> tuple[str, str | None]:
    """Say what the batch size and the learning rate are going to be."""
    batch = effective_batch_size(cfg, world_size)
    base = base_batch_size(cfg)
    lr = cfg.optim_wrapper.get('optimizer', {}).get('lr')
    text = (f'batch size {batch} = {world_size} process(es) x '
            f'{cfg.train_dataloader.batch_size} images x '
            f'{cfg.optim_wrapper.get("accumulative_counts", 1)} accumulation '
            f'(base batch size {base if base else "not in the config"}), '
            f'learning rate {lr:.4g}' if lr is not None else
            f'batch size {batch}')
    if lr != recipe_lr:
        return f'{text}, scaled from {recipe_lr:.4g}', None
    if base and lr is not None and batch != base:
        return text, (
            f'The learning rate {lr:.4g} was chosen for a batch size of '
            f'{base}, not {batch}. Add --auto-scale-lr to make it '
            f'{lr * batch / base:.4g}.')
    return text, None


def check_last_batch(runner: Runner) -> None:
    """Make sure that BatchNorm can learn of a batch of a single image.

    It cannot where the image's map has shrunk to a single position. Only if
    there is such a batch, the model is shown an image.
    """
    loader: Any = runner.train_dataloader
    if not _has_single(loader, by_iteration(runner)):
        return
    model = (runner.model.module if is_model_wrapper(runner.model) else
             runner.model)
    with _random_states_kept():
        image = pseudo_collate([loader.dataset[0]])
    name = _norm_of_one_value(model, image)
    if name:
        raise UserError(
            f'a batch of a single image comes up ({len(loader.dataset)} '
            f'images, {loader.batch_sampler.batch_size} a batch), and '
            f'{name} cannot learn of it, as the map there has a single '
            'position: --cfg-options train_dataloader.drop_last=True, or '
            'another batch size, or larger images')


def _has_single(loader: DataLoader, endless: bool) -> bool:
    """Whether a batch has a single image; endless ones are never cut."""
    batches: Any = getattr(loader, 'batch_sampler', None)
    size = getattr(batches, 'batch_size', 0)
    return size == 1 or (
        size > 1 and not endless and not getattr(batches, 'drop_last', True)
        and len(batches.sampler) % size == 1)


@contextmanager
def _random_states_kept() -> Iterator[None]:
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])


def _norm_of_one_value(model: BaseModel, image: dict) -> str:
    """The first that learns, and gets a single value of a channel."""
    model.train()
    learning = {name: module for name, module in model.named_modules()
                if isinstance(module, nn.modules.batchnorm._BatchNorm)
                and module.training}
    found: list[str] = []

    def look(name: str):
        return lambda module, inputs: found.append(name) if (
            inputs[0].numel() == inputs[0].shape[1]) else None

    handles = [module.register_forward_pre_hook(look(name))
               for name, module in learning.items()]
    model.eval()
    # What else goes wrong is for the training to say.
    with suppress(Exception), torch.no_grad(), _random_states_kept():
        model(**model.data_preprocessor(image), mode='tensor')
    model.train()
    for handle in handles:
        handle.remove()
    return next(iter(found), '')
