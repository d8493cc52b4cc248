"""Computing large feature maps in chunks that fit into a CPU's caches."""
import torch
from torch import Tensor

# A compiler unrolls the loop over the chunks.
MAX_UNROLLED_CHUNKS = 16


def is_exporting() -> bool:
    """Whether the model is being traced or exported."""
    # torch before 2.7 cannot tell an export from a compilation.
    return torch.jit.is_tracing() or getattr(
        torch.compiler, 'is_exporting', bool)()


def count_chunks(size: int, chunk: int) -> int:
    """Number of chunks that make up a size; the last may be smaller."""
    return -(-size // chunk)


def can_unroll(chunks: int) -> bool:
    """Whether a compiler, if one is at work, can unroll so many chunks."""
    return chunks <= MAX_UNROLLED_CHUNKS or not torch.compiler.is_compiling()


def concat(chunks: list[Tensor], dim: int) -> Tensor:
    """``torch.cat`` that does not copy a single chunk."""
    return chunks[0] if len(chunks) == 1 else torch.cat(chunks, dim)
