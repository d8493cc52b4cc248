"""The parts of a deployed model: in a data type of their own, compiled."""
from collections.abc import Callable
from functools import partial

import torch
import torch._dynamo.config
import torch._inductor.config
from torch import Tensor, nn

from ..errors import UserError
from ..ops.conv_autotune import Seconds, fewest_seconds
from ..ops.packed_conv import forget_packed
from ..utils.tensors import map_tensors, tensors_in

# What won in the measurements of docs/benchmark.md. Weights are constants of
# an inference; between the kernels C++ takes less time than Python.
COMPILER_OPTIONS = dict(freezing=True)
CPU_COMPILER_OPTIONS = dict(freezing=True, cpp_wrapper=True)
# Each takes a minute.
MAX_SIZES = 8
# Torch's own limit counts all parts that are a Sequential as one function.
RECOMPILE_LIMIT = 256


class PartForward:
    """Takes the place of a part's forward.

    Maps are laid out channels-last and cast to the part's data type on their
    way in, and to float32 on their way out: what decodes them, suppresses
    boxes, or computes losses, does so in float32. No gradients are computed.

    On a CPU a compiler does not always win: what it has made is timed beside
    the part as it is, once for each size of maps, and the faster one is kept.
    Where torch is told to be deterministic, it is always the compiled one.
    """

    def __init__(self, part: nn.Module, dtype: torch.dtype):
        self.part, self.dtype = part, dtype
        self._is_compiled = False
        self._compiled: Callable | None = None
        self._chosen: dict[tuple, Callable] = {}

    def compile(self) -> None:
        """Let ``torch.compile`` compile it, for the first eight sizes."""
        self._is_compiled = True
        self._compiled = None
        self._chosen = {}

    def __getstate__(self) -> dict:
        """What is copied and pickled: all but what is compiled."""
        return self.__dict__ | dict(_compiled=None, _chosen={})

    @torch.no_grad()
    def __call__(self, *inputs):
        inputs = map_tensors(self._enter, inputs)
        compute = (self._choice_for(inputs) if self._is_compiled else
                   self._forward)
        return map_tensors(_leave, compute(*inputs))

    @property
    def _forward(self) -> Callable:
        """That of the class: the instance's is this object."""
        return type(self.part).forward.__get__(self.part)

    def _choice_for(self, inputs: tuple) -> Callable:
        sizes = tuple(x.shape for x in tensors_in(inputs))
        if sizes not in self._chosen:
            if len(self._chosen) == MAX_SIZES:
                return self._forward
            self._chosen[sizes] = self._choose(inputs)
        return self._chosen[sizes]

    def _choose(self, inputs: tuple) -> Callable:
        if self._compiled is None:
            self._compiled = self._compile()
        if (self._device().type != 'cpu'
                or torch.are_deterministic_algorithms_enabled()):
            return self._compiled
        ways = dict(eager=self._forward, compiled=self._compiled)
        seconds: Seconds = {}
        for name, way in ways.items():
            # They might work in place.
            call = partial(way, *map_tensors(Tensor.clone, inputs))
            # As one image after the other, with nothing else in between.
            seconds |= fewest_seconds({name: call}, lambda call: call())
            # Each has its own, which together are twice as large.
            forget_packed(self.part)
        return ways[min(ways, key=seconds.__getitem__)]

    def _device(self) -> torch.device:
        return next(self.part.parameters()).device

    def _compile(self) -> Callable:
        # As options of torch.compile they come too late: what is computed
        # from weights alone would be computed in each call.
        settings = torch._inductor.config.patch(
            CPU_COMPILER_OPTIONS if self._device().type == 'cpu' else
            COMPILER_OPTIONS)
        limit = torch._dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT)
        return limit(settings(torch.compile(self._forward, dynamic=False)))

    def _enter(self, x: Tensor) -> Tensor:
        if x.is_nested:
            raise UserError('a deployed network takes no nested tensors: pad '
                            'the images to one size')
        if not x.is_floating_point():
            return x
        layout = (torch.channels_last if x.ndim == 4 else
                  torch.preserve_format)
        weight = next(self.part.parameters(), None)
        # Somebody may have called half() meanwhile.
        dtype = self.dtype if weight is None else weight.dtype
        return x.to(dtype, memory_format=layout)


def _leave(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x
