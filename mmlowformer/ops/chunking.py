"""What is too large for a processor's caches, computed part by part."""
import torch
from torch import Tensor

# A compiler unrolls the loop over the parts.
MAX_COMPILED_PARTS = 16


def is_exported() -> bool:
    """Whether a graph for somebody else is being made of what is computed."""
    # torch before 2.7 cannot tell an export from a compilation.
    is_exporting = getattr(torch.compiler, 'is_exporting', bool)
    return torch.jit.is_tracing() or is_exporting()


def count_parts(size: int, part: int) -> int:
    """How many parts make up a size; the last one may be smaller."""
    return -(-size // part)


def may_loop(parts: int) -> bool:
    """Whether a loop over so many parts is not too long for a compiler."""
    return parts <= MAX_COMPILED_PARTS or not torch.compiler.is_compiling()


def join(parts: list[Tensor], dim: int) -> Tensor:
    """``torch.cat`` that does not copy a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
