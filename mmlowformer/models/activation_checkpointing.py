"""Blocks whose activations are recomputed in the backward pass."""
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from mmengine.model import Sequential
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class CheckpointedSequential(Sequential):
    """A chain of blocks of which only the inputs are kept for backward.

    It takes less memory and more time than a plain ``Sequential``. Without
    gradients it does the same, and so it does when it is compiled: a compiler
    chooses by itself what it keeps.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(x)
        for block in self:
            x = checkpoint(block, x, use_reentrant=False,
                           context_fn=partial(_contexts, block))
        return x


def _contexts(block: nn.Module) -> tuple[
        AbstractContextManager, AbstractContextManager]:
    """Contexts of the first computation and of the one in backward."""
    return nullcontext(), _keep_running_stats(block)


@contextmanager
def _keep_running_stats(module: nn.Module) -> Iterator[None]:
    """Recomputing activations must not count a batch twice in BatchNorm."""
    buffers = [buffer for norm in module.modules()
               if isinstance(norm, _BatchNorm) for buffer in norm.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, kept):
                buffer.copy_(value)
