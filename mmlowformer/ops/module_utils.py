"""Replacing modules, and their memory format."""
from collections.abc import Callable

import torch
from torch import nn

from .mmcv_ops import needs_contiguous


def to_channels_last(module: nn.Module) -> None:
    """Convert a module's weights, except those of mmcv's operators."""
    module.to(memory_format=torch.channels_last)
    for part in filter(needs_contiguous, module.modules()):
        for weight in part.parameters(recurse=False):
            weight.data = weight.data.contiguous()


def replace_modules(network: nn.Module,
                    can_replace: Callable[[nn.Module], bool],
                    replacement: Callable[..., nn.Module]) -> None:
    """Replace modules in place; shared modules stay shared."""
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(network.modules()):
        for name, child in parent._modules.items():
            if child is not None and can_replace(child):
                if child not in made:
                    made[child] = replacement(child)
                parent._modules[name] = made[child]
