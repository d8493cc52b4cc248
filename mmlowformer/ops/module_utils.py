"""Modules replaced, and laid out in memory."""
from collections.abc import Callable

import torch
from torch import nn

from .mmcv_ops import wants_contiguous


def to_channels_last(module: nn.Module) -> None:
    """Lay out a module's weights as convolutions want them.

    But for the weights of mmcv's operators, see :mod:`.mmcv_ops`.
    """
    # torch's annotations lack this overload.
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for part in filter(wants_contiguous, module.modules()):
        for weight in part.parameters(recurse=False):
            weight.data = weight.data.contiguous()


def replace_modules(network: nn.Module,
                    can_replace: Callable[[nn.Module], bool],
                    replacement: Callable[..., nn.Module]) -> None:
    """Put a module of a kind in the place of each that it can replace."""
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(network.modules()):
        for name, child in parent._modules.items():
            if child is not None and can_replace(child):
                # What was shared stays so.
                if child not in made:
                    made[child] = replacement(child)
                parent._modules[name] = made[child]
