"""Batch size and the learning rate that belongs to it."""
from mmengine.config import Config

from ..errors import UserError


def effective_batch_size(cfg: Config, world_size: int, images: int) -> int:
    """Images per optimizer step: processes x batch x accumulation.

    A batch is not larger than all images for training.
    """
    return (min(world_size * cfg.train_dataloader.batch_size, images)
            * cfg.optim_wrapper.get('accumulative_counts', 1))


def base_batch_size(cfg: Config) -> int | None:
    """Images per step that the learning rate was chosen for, if known."""
    return (cfg.get('auto_scale_lr') or {}).get('base_batch_size')


def scale_learning_rate(cfg: Config, world_size: int, images: int) -> None:
    """Scale the learning rate linearly with the effective batch size.

    Unlike MMEngine's own ``auto_scale_lr``, this counts gradient accumulation,
    and no more images than there are.
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
    optimizer.lr *= effective_batch_size(cfg, world_size, images) / base
