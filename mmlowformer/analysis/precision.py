"""Measure the error of mixed precision in the blocks of a LowFormer."""
import math
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..models import LowFormer, find_lowformers
from ..models.blocks import LowFormerBlock, Residual

DTYPES = dict(bf16=torch.bfloat16, fp16=torch.float16)
# The name of the addition in a residual block, which is not a module.
SUM = '.sum'


@dataclass(frozen=True)
class BlockError:
    """The error of a block in low precision."""

    name: str
    # The largest magnitude of an output of its layers in float32.
    largest: float
    # The norm of the difference from float32 over the norm in float32, both
    # over all images:
    # When the backbone runs in low precision.
    accumulated: float
    # When only this block does: its input is that of float32, in the type
    # that it has in the low-precision run.
    alone: float


def find_backbone(model: nn.Module) -> LowFormer:
    """The first LowFormer in a model."""
    for backbone in find_lowformers(model).values():
        return backbone
    raise UserError(f'the model ({type(model).__name__}) contains no '
                    'LowFormer')


def named_blocks(backbone: LowFormer) -> dict[str, nn.Module]:
    """The blocks in order; stages 3 and 4 are split by residual branch."""
    blocks: dict[str, nn.Module] = {}
    for prefix in ('stem', *(f'stages.{i}' for i in
                             range(len(backbone.stages)))):
        for name, block in backbone.get_submodule(prefix).named_children():
            name = f'{prefix}.{name}'
            if isinstance(block, LowFormerBlock):
                blocks.update((f'{name}.{branch}', module)
                              for branch, module in block.named_children())
            else:
                blocks[name] = block
    return blocks


@torch.no_grad()
def measure(backbone: LowFormer, batches: Iterable[Tensor],
            dtype: torch.dtype) -> list[BlockError]:
    """Compare each block under autocast with float32."""
    blocks = named_blocks(backbone)
    largest = dict.fromkeys(blocks, 0.)
    squares = dict.fromkeys(blocks, torch.zeros(3, dtype=torch.float64))
    for images in batches:
        precise = _run(backbone, blocks, images, largest)
        with torch.autocast(images.device.type, dtype):
            low = _run(backbone, blocks, images)
            for name, (given, wanted) in precise.items():
                low_given, output = low[name]
                alone = blocks[name](given.to(low_given.dtype))
                squares[name] = squares[name] + torch.stack([
                    values.double().square().sum().cpu() for values in (
                        wanted, output.float() - wanted,
                        alone.float() - wanted)])
    errors = []
    for name, total in squares.items():
        norm, *parts = total.sqrt().tolist()
        errors.append(BlockError(name, largest[name], *(
            part / norm if norm else math.nan for part in parts)))
    return errors


def _run(backbone: LowFormer, blocks: dict[str, nn.Module], images: Tensor,
         largest: dict[str, float] | None = None) -> dict[str, tuple]:
    """Input and output of each block; ``largest`` is that of its layers."""
    calls = {}

    def keep(name, module, args, output):
        calls[name] = (args[0], output)

    def see(name, module, args, output):
        largest[name] = max(largest[name], output.abs().max().item())

    hooks = [(block, partial(keep, name)) for name, block in blocks.items()]
    if largest:
        hooks += [(layer, partial(see, name)) for name, block in
                  blocks.items() for layer in block.modules()]
    with ExitStack() as remove:
        for module, hook in hooks:
            remove.callback(module.register_forward_hook(hook).remove)
        backbone(images)
    return calls


@contextmanager
def float32_layers(backbone: LowFormer, pattern: str):
    """Run layers whose names match in float32, even under autocast."""
    try:
        found = re.compile(pattern).search
    except re.error as error:
        raise UserError(f'{pattern!r} is not a regular expression: {error}'
                        ) from error
    modules = dict(backbone.named_modules())
    islands = {part for name, module in modules.items() if found(name)
               for part in module.modules()}
    sums = [module for name, module in modules.items()
            if isinstance(module, Residual) and found(name + SUM)]
    if not islands and not sums:
        raise UserError(
            f'{pattern!r} matches no name of a layer, such as '
            f'{", ".join(list(named_blocks(backbone))[-3:])}')
    with ExitStack() as restore:
        for module in islands:
            module.forward = partial(_in_float32, module.forward)
            restore.callback(delattr, module, 'forward')
        for residual in sums:
            # A float32 input makes the sum float32 for any type of branch.
            handle = residual.register_forward_pre_hook(
                lambda module, args: (args[0].float(), *args[1:]))
            restore.callback(handle.remove)
        yield


def _in_float32(forward: Callable, x: Tensor, *args, **kwargs) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return forward(x.float(), *args, **kwargs)


@contextmanager
def low_precision(backbone: LowFormer, dtype: torch.dtype | None):
    """Run only the backbone under autocast."""
    forward = backbone.forward

    def run(images: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(images.device.type, dtype,
                            enabled=dtype is not None):
            return tuple(output.float() for output in forward(images))

    backbone.__dict__['forward'] = run
    try:
        yield
    finally:
        del backbone.__dict__['forward']
