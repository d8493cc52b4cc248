"""Base class for backbones with a stem and stages."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch
from mmengine.model import Sequential
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from .arch_validation import check_frozen_stages
from .state_dict_loading import StateDictAdapter

if TYPE_CHECKING:
    from mmengine.model import ModuleList
    from typing_extensions import Self


class BaseBackbone(StateDictAdapter):
    """Freezing, deployment and layer depth, see ``LowFormer``."""

    strides = (4, 8, 16, 32)
    stem: Sequential
    stages: ModuleList

    def __init__(self, frozen_stages: int, norm_eval: bool,
                 init_cfg: dict | list | None = None):
        super().__init__(init_cfg)
        self.frozen_stages = check_frozen_stages(
            frozen_stages, len(self.strides))
        self.norm_eval = norm_eval
        self.deployed = False

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for frozen stages."""
        if mode and self.deployed:
            raise RuntimeError(
                'A deployed LowFormer cannot be trained, as its BatchNorms '
                'are folded. Build a new one and load the checkpoint of the '
                'training.')
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze_stages(self):
        if self.frozen_stages < 0:
            return
        for frozen in (self.stem, *self.stages[:self.frozen_stages]):
            frozen.eval()
            frozen.requires_grad_(False)

    def switch_to_deploy(self) -> Self:
        """Rewrite the network for inference, in place and for good.

        BatchNorms, GroupNorms as far as possible, and transposed convolutions
        of stride 1 are folded into plain convolutions; weights become
        channels-last. On a CPU, without gradients, convolutions with many
        channels use Winograd's algorithm, and wide feature maps are computed
        in chunks. The outputs are equal up to rounding. A second call does
        nothing.

        A deployed network only computes outputs: the transforms of
        ``torch.func`` (``vmap``, ``jvp``) and symbolic tracing by
        ``torch.fx`` need the plain network.
        """
        if self.deployed:
            return self
        if self.training:
            raise RuntimeError('LowFormer is in training mode; call eval() '
                               'before switch_to_deploy().')
        # It imports the blocks of the network.
        from .reparameterize import fuse_for_inference
        fuse_for_inference(self)
        self.deployed = True
        return self

    def get_layer_depth(self, param_name: str,
                        prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter, for layer-wise learning rate decay."""
        first_blocks = [1]
        for stage in self.stages:
            first_blocks.append(first_blocks[-1] + len(stage))
        num_layers = first_blocks[-1] + 1
        if param_name.startswith(f'{prefix}stem.'):
            return 0, num_layers
        if param_name.startswith(f'{prefix}stages.'):
            _, stage, block = param_name.removeprefix(prefix).split('.')[:3]
            return first_blocks[int(stage)] + int(block), num_layers
        return num_layers - 1, num_layers


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
