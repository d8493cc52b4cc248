"""Running a network with hooks on the forward functions of its modules."""
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
ForwardHook = Callable[..., object]


class Call(NamedTuple):
    """Inputs and outputs of a call: tensors in lists, tuples and dicts."""

    inputs: tuple
    outputs: object


def run_network(model: nn.Module, images: Tensor) -> object:
    """The outputs of a model's network, before decoding."""
    if not isinstance(model, BaseModel):
        return model(images)
    size = tuple(images.shape[2:])
    # Some detectors need ground truth even without a loss.
    no_objects = InstanceData(bboxes=images.new_zeros(0, 4),
                              labels=images.new_zeros(0, dtype=torch.long))
    samples = [BaseDataElement(metainfo=dict(
        img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
        scale_factor=(1., 1.)), gt_instances=no_objects) for _ in images]
    # Custom models may not take them.
    accepts = inspect.signature(type(model).forward).parameters
    settings = {'data_samples': samples} if 'data_samples' in accepts else {}
    return model(images, mode='tensor', **settings)


def noise_for(model: nn.Module, size: int = NOISE_SIZE) -> Tensor:
    """An image of noise with the channels of the first convolution."""
    channels = next((module.in_channels for module in model.modules()
                     if isinstance(module, nn.Conv2d)), 3)
    noise = torch.randn(1, channels, size, size,
                        generator=torch.Generator().manual_seed(0))
    return noise.to(next(model.parameters()).device)


@contextmanager
def intercept_forward(modules: dict[str, nn.Module],
                      hook: ForwardHook) -> Iterator[None]:
    """Call a hook instead of the modules' forward functions.

    Unlike torch's hooks, it also sees direct calls of forward, as in heads.
    """
    before = {}
    for name, module in modules.items():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        before[module] = vars(module).get('forward')
        vars(module)['forward'] = partial(hook, name, module, module.forward)
    try:
        yield
    finally:
        for module, forward in before.items():
            vars(module).pop('forward', None)
            if forward is not None:
                vars(module)['forward'] = forward


class _PartRecorder:
    """Records calls of the outermost modules from tensors to tensors."""

    def __init__(self, unfit: set[str]):
        self.calls: dict[str, list[Call]] = {}
        self.unfit = set(unfit)
        self._inside = False

    def __call__(self, name: str, module: nn.Module, forward: Callable,
                 *args, **kwargs):
        if self._inside or kwargs or not args or name in self.unfit:
            return forward(*args, **kwargs)
        try:
            # Cloned, as a module may work in place.
            inputs = map_tensors(Tensor.clone, args)
        except TypeError:
            return forward(*args, **kwargs)
        self._inside = True
        try:
            outputs = forward(*args)
        finally:
            self._inside = False
        try:
            call = Call(inputs, map_tensors(Tensor.clone, outputs))
        except TypeError:
            self.unfit.add(name)
        else:
            self.calls.setdefault(name, []).append(call)
        return outputs


def find_parts(model: nn.Module, images: Tensor) -> dict[str, list[Call]]:
    """The largest parts of a model from tensors to tensors, and their calls.

    In a detector these are backbone, neck and head, without decoding and
    losses.
    """
    unfit: set[str] = set()
    while True:
        recorder = _PartRecorder(unfit)
        with intercept_forward(dict(model.named_modules()), recorder):
            run_network(model, images)
        if recorder.unfit == unfit:
            return recorder.calls
        # Look for parts inside of these, too.
        unfit = recorder.unfit
