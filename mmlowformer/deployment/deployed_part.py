"""Forward functions of a deployed model's parts: data type and compiler."""
from collections.abc import Callable
from functools import partial

import torch
import torch._dynamo.config
import torch._inductor.config
from torch import Tensor, nn

from ..errors import UserError
from ..ops.conv_autotune import Seconds, best_times
from ..ops.packed_conv import clear_packed_weights
from ..utils.tensors import map_tensors, tensors_in

# The fastest in the measurements of docs/benchmark.md. Weights are constants
# in inference; between kernels, C++ takes less time than Python.
COMPILER_OPTIONS = dict(freezing=True)
CPU_COMPILER_OPTIONS = dict(freezing=True, cpp_wrapper=True)
# Compiling for each takes a minute.
MAX_SIZES = 8
# torch's own limit counts all parts of type Sequential as one function.
RECOMPILE_LIMIT = 256


class DeployedForward:
    """Replaces a part's forward.

    Inputs become channels-last and are cast to the part's data type, outputs
    are cast to float32, so that decoding, NMS and losses use float32. Computes
    no gradients.

    On a CPU, compiled code is not always faster: it is timed against eager
    code once for each size of feature maps, and the faster one is kept. If
    torch is set to be deterministic, compiled code is always used.
    """

    def __init__(self, part: nn.Module, dtype: torch.dtype):
        self.part, self.dtype = part, dtype
        self._is_compiled = False
        self._compiled: Callable | None = None
        self._chosen: dict[tuple, Callable] = {}

    def compile(self) -> None:
        """Compile with ``torch.compile``, for the first eight sizes."""
        self._is_compiled = True
        self._compiled = None
        self._chosen = {}

    def __getstate__(self) -> dict:
        """Copy and pickle without compiled code."""
        return self.__dict__ | dict(_compiled=None, _chosen={})

    @torch.no_grad()
    def __call__(self, *inputs):
        inputs = map_tensors(self._enter, inputs)
        compute = (self._choice_for(inputs) if self._is_compiled else
                   self._forward)
        return map_tensors(_leave, compute(*inputs))

    @property
    def _forward(self) -> Callable:
        """The class's forward; the instance's is this object."""
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
        if (self._device.type != 'cpu'
                or torch.are_deterministic_algorithms_enabled()):
            return self._compiled
        choices = dict(eager=self._forward, compiled=self._compiled)
        seconds: Seconds = {}
        for name, forward in choices.items():
            # The part may work in place.
            call = partial(forward, *map_tensors(Tensor.clone, inputs))
            # With warm caches, as for one image after the other.
            seconds |= best_times({name: call}, lambda call: call())
            # Eager and compiled code pack their own copies.
            clear_packed_weights(self.part)
        return choices[min(choices, key=seconds.__getitem__)]

    @property
    def _device(self) -> torch.device:
        return next(self.part.parameters()).device

    def _compile(self) -> Callable:
        # As options of torch.compile they come too late: what depends on
        # weights alone would be computed in each call.
        settings = torch._inductor.config.patch(
            CPU_COMPILER_OPTIONS if self._device.type == 'cpu' else
            COMPILER_OPTIONS)
        limit = torch._dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT)
        return limit(settings(torch.compile(self._forward, dynamic=False)))

    def _enter(self, x: Tensor) -> Tensor:
        if x.is_nested:
            raise UserError('a deployed network takes no nested tensors: pad '
                            'the images to one size')
        if not x.is_floating_point():
            return x
        memory_format = (torch.channels_last if x.ndim == 4 else
                         torch.preserve_format)
        weight = next(self.part.parameters(), None)
        # half() may have been called after deploying.
        dtype = self.dtype if weight is None else weight.dtype
        return x.to(dtype, memory_format=memory_format)


def _leave(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x
