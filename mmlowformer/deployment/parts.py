"""The parts of a deployed model: in a data type of their own, compiled."""
from collections.abc import Callable

import torch
import torch._inductor.config
from torch import Tensor, nn

from .watching import map_tensors

# What won in the measurements of docs/benchmark.md. Weights are constants of
# an inference; between the kernels C++ takes less time than Python.
COMPILER_OPTIONS = dict(freezing=True)
CPU_COMPILER_OPTIONS = dict(freezing=True, cpp_wrapper=True)


class PartForward:
    """Takes the place of a part's forward.

    Maps are laid out channels-last and cast to the part's data type on their
    way in, and to float32 on their way out: what decodes them, suppresses
    boxes, or computes losses, does so in float32. No gradients are computed.

    Args:
        part (nn.Module): From tensors to tensors.
        dtype (torch.dtype): What it computes in.
    """

    def __init__(self, part: nn.Module, dtype: torch.dtype):
        self.part, self.dtype = part, dtype
        self._is_compiled = False
        self._compute: Callable | None = None

    def compile(self) -> None:
        """Let ``torch.compile`` compile it, for each size of maps anew."""
        self._is_compiled = True
        self._compute = None

    def __getstate__(self) -> dict:
        """What is copied and pickled: all but what is compiled."""
        return self.__dict__ | dict(_compute=None)

    @torch.no_grad()
    def __call__(self, *inputs):
        if self._compute is None:
            self._compute = self._ready()
        outputs = self._compute(*map_tensors(self._enter, inputs))
        return map_tensors(_leave, outputs)

    def _ready(self) -> Callable:
        # Not the instance's, which is this object.
        forward = type(self.part).forward.__get__(self.part)
        if not self._is_compiled:
            return forward
        device = next(self.part.parameters()).device
        # As options of torch.compile they come too late: what is computed
        # from weights alone would be computed in each call.
        settings = torch._inductor.config.patch(
            CPU_COMPILER_OPTIONS if device.type == 'cpu' else
            COMPILER_OPTIONS)
        return settings(torch.compile(forward, dynamic=False))

    def _enter(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return x
        layout = (torch.channels_last if x.ndim == 4 else
                  torch.preserve_format)
        return x.to(self.dtype, memory_format=layout)


def _leave(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x
