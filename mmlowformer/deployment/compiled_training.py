"""Compile backbone, neck and heads of a model for training."""
from collections.abc import Callable

import torch._inductor
from torch import nn

from ..errors import UserError, first_line
from .tracing import LARGE_NOISE, NOISE_SIZE, find_parts, noise_for


def compile_parts(model: nn.Module, mode: str = 'default',
                  backend: str = 'inductor') -> list[str]:
    """Compile the parts of a model, in place, and return their names.

    Losses, target assignment and the optimizer are not compiled: they change
    with the ground truth of each image. Mode and backend are those of
    ``torch.compile``.
    """
    settings: dict = dict(backend=backend)
    if backend == 'inductor':
        # Its layout optimization fails as soon as the size of the images is
        # a symbol, which it is from the second size on (torch 2.12).
        settings['options'] = dict(torch._inductor.list_mode_options(mode),
                                   layout_optimization=False)
    names = _part_names(model)
    for name in names:
        part = model.get_submodule(name)
        # A function is no submodule: the state dict stays as it is.
        vars(part)['forward'] = CompiledForward(part, settings)
    return names


def _part_names(model: nn.Module) -> list[str]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            for size in (NOISE_SIZE, LARGE_NOISE):
                try:
                    return list(find_parts(model, noise_for(model, size)))
                # A model may raise anything.
                except Exception as error:
                    failure = error
    finally:
        for module, training in modes.items():
            module.training = training
    raise UserError(
        f'{type(model).__name__} cannot be compiled, as it fails on an image '
        f'of noise ({type(failure).__name__}: {first_line(failure)}): train '
        'without --compile')


class CompiledForward:
    """Replaces a part's forward: compiled in training mode, else eager."""

    def __init__(self, part: nn.Module, settings: dict):
        self.part, self.settings = part, settings
        self._compiled: Callable | None = None

    def __getstate__(self) -> dict:
        """Copy and pickle without compiled code."""
        return self.__dict__ | dict(_compiled=None)

    def __call__(self, *args, **kwargs):
        forward = type(self.part).forward.__get__(self.part)
        if not self.part.training:
            return forward(*args, **kwargs)
        if self._compiled is None:
            self._compiled = torch.compile(forward, **self.settings)
        return self._compiled(*args, **kwargs)
