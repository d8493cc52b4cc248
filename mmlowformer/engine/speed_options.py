"""Settings for a faster training: data type, memory format, compiler."""
import argparse
import inspect

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import OPTIMIZERS

from ..errors import UserError
from ..registry import AMP_WRAPPERS


def apply_speed_options(cfg: Config, args: argparse.Namespace) -> None:
    """Write the options into the config, for any tool to train from."""
    _drop_fused(cfg)
    if args.amp:
        _set_amp(cfg, args.amp)
    # Where configs disable hooks of MMEngine's by None.
    hooks = cfg.default_hooks
    if args.channels_last is not None:
        hooks.memory_format = dict(type='mmlowformer.MemoryFormatHook',
                                   channels_last=args.channels_last)
    if args.compile:
        _check_mode(args.compile)
        if cfg.get('compile'):
            raise UserError('--compile compiles the network, and compile in '
                            'the config the whole training step: omit one')
        hooks.compile = dict(type='mmlowformer.CompileHook',
                             mode=args.compile)


def _drop_fused(cfg: Config) -> None:
    """Train with optimizers that have no fused implementation, too.

    The configs ask for a fused AdamW, and a user may change the type alone.
    """
    optimizer = cfg.optim_wrapper.get('optimizer') or {}
    kind = optimizer.get('type')
    if isinstance(kind, str):
        with OPTIMIZERS.switch_scope_and_registry(
                cfg.get('default_scope')) as registry:
            kind = registry.get(kind)
    if kind and 'fused' not in inspect.signature(kind).parameters:
        optimizer.pop('fused', None)


def _check_mode(mode: str) -> None:
    # Seldom needed, and takes a second.
    from torch._inductor import list_mode_options
    modes = list(list_mode_options())
    if mode not in modes:
        raise UserError(f'--compile {mode}: the modes are '
                        f'{", ".join(modes)}')


def _set_amp(cfg: Config, dtype: str) -> None:
    on_cpu = get_device() == 'cpu'
    if dtype == 'auto':
        if not _has_bfloat16(on_cpu):
            return
        dtype = 'bf16'
    if dtype == 'fp16' and on_cpu:
        raise UserError('--amp fp16 needs a GPU; a CPU trains with --amp bf16')
    wrapper = cfg.optim_wrapper
    # They would be unknown arguments of the other type.
    for name in ('dtype', 'loss_scale', 'use_fsdp'):
        wrapper.pop(name, None)
    wrapper.update(AMP_WRAPPERS[dtype])


def _has_bfloat16(on_cpu: bool) -> bool:
    if on_cpu:
        # Loaded only when needed, for a quick start.
        from ..utils.device import has_instructions
        return has_instructions(torch.bfloat16)
    return (get_device() == 'cuda'
            and torch.cuda.is_bf16_supported(including_emulation=False))
