"""Watching what a network does with an image."""
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from ..utils.tensors import map_tensors

NOISE_SIZE = 128
# DINO and others take hundreds of positions as queries.
LARGE_NOISE = 512
# Takes name, module, its forward and the arguments; returns the outputs.
Onlooker = Callable[..., object]


class Call(NamedTuple):
    """What a part of a network was given, and what it returned.

    Attributes:
        inputs (tuple): Tensors, or lists, tuples and dicts of them.
        outputs: The same.
    """

    inputs: tuple
    outputs: object


def run_network(model: nn.Module, images: Tensor) -> object:
    """The outputs of a model's network, before anything is decoded."""
    if not isinstance(model, BaseModel):
        return model(images)
    size = tuple(images.shape[2:])
    samples = [BaseDataElement(metainfo=dict(
        img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
        scale_factor=(1., 1.)), gt_instances=_no_objects(images))
        for _ in images]
    # Models of one's own may do without.
    accepts = inspect.signature(type(model).forward).parameters
    settings = {'data_samples': samples} if 'data_samples' in accepts else {}
    return model(images, mode='tensor', **settings)


def _no_objects(images: Tensor) -> InstanceData:
    """Some detectors ask for the ground truth even without a loss."""
    return InstanceData(bboxes=images.new_zeros(0, 4),
                        labels=images.new_zeros(0, dtype=torch.long))


def noise_for(model: nn.Module, size: int = NOISE_SIZE) -> Tensor:
    """An image of noise with the channels of the first convolution."""
    channels = next((module.in_channels for module in model.modules()
                     if isinstance(module, nn.Conv2d)), 3)
    noise = torch.randn(1, channels, size, size,
                        generator=torch.Generator().manual_seed(0))
    return noise.to(next(model.parameters()).device)


@contextmanager
def watched(modules: dict[str, nn.Module],
            onlooker: Onlooker) -> Iterator[None]:
    """Let somebody stand between modules and those that call them."""
    before = {}
    for name, module in modules.items():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        before[module] = vars(module).get('forward')
        # Also seen by those that call forward itself, as heads do.
        vars(module)['forward'] = partial(onlooker, name, module,
                                          module.forward)
    try:
        yield
    finally:
        for module, forward in before.items():
            vars(module).pop('forward', None)
            if forward is not None:
                vars(module)['forward'] = forward


class _Parts:
    """Collects calls of the outermost modules from tensors to tensors."""

    def __init__(self):
        self.calls: dict[str, list[Call]] = {}
        self.unfit: set[str] = set()
        self._inside = False

    def __call__(self, name: str, module: nn.Module, forward: Callable,
                 *args, **kwargs):
        if self._inside or kwargs or not args or name in self.unfit:
            return forward(*args, **kwargs)
        try:
            # It might work in place.
            inputs = map_tensors(Tensor.clone, args)
        except TypeError:
            return forward(*args, **kwargs)
        self._inside = True
        try:
            outputs = forward(*args)
        finally:
            self._inside = False
        try:
            outputs_then = map_tensors(Tensor.clone, outputs)
        except TypeError:
            self.unfit.add(name)
        else:
            self.calls.setdefault(name, []).append(Call(inputs, outputs_then))
        return outputs


def find_parts(model: nn.Module, images: Tensor) -> dict[str, list[Call]]:
    """The largest parts of a model that go from tensors to tensors.

    Of a detector these are its backbone, its neck and its head: neither what
    is decoded from the head's outputs nor the losses.
    """
    unfit: set[str] = set()
    while True:
        parts = _Parts()
        parts.unfit |= unfit
        with watched(dict(model.named_modules()), parts):
            run_network(model, images)
        if parts.unfit == unfit:
            return parts.calls
        # What is in these has to be looked at, too.
        unfit = parts.unfit
