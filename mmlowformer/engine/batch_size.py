"""Batch size and the learning rate that belongs to it."""
from mmengine.config import Config

from ..errors import UserError


def effective_batch_size(cfg: Config, world_size: int) -> int:
    """Images per optimizer step: processes x batch x accumulation.

    Args:
        cfg (Config): Config with a ``train_dataloader``.
        world_size (int): Number of processes.

    Returns:
        int: The number of images.
    """
    return (world_size * cfg.train_dataloader.batch_size
            * cfg.optim_wrapper.get('accumulative_counts', 1))


def base_batch_size(cfg: Config) -> int | None:
    """Images per step that the learning rate was chosen for, if known."""
    return (cfg.get('auto_scale_lr') or {}).get('base_batch_size')


def scale_learning_rate(cfg: Config, world_size: int) -> None:
    """Scale the learning rate linearly with the effective batch size.

    Unlike MMEngine's own ``auto_scale_lr``, this counts gradient accumulation.

    Args:
        cfg (Config): Config whose ``optim_wrapper.optimizer.lr`` is changed.
        world_size (int): Number of processes.

    Raises:
        UserError: If the config has no base batch size or learning rate.
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
    """Say what the batch size and the learning rate are going to be.

    Args:
        cfg (Config): The config, after any scaling.
        world_size (int): Number of processes.
        recipe_lr (float, optional): The learning rate before any scaling.

    Returns:
        tuple[str, str | None]: The description, and a warning if the learning
        rate was chosen for another batch size and not scaled.
    """
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
