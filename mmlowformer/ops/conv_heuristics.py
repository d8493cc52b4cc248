"""Whether to use Winograd convolution, by fixed thresholds."""
from typing import NamedTuple

import torch

# Thresholds at which Winograd was faster with AVX2 and AVX-512. With fewer
# channels, moving the values takes longer than multiplying them; with fewer
# tiles, reading the kernels does.
MIN_CHANNELS = 128
MIN_TILES = 48


class ConvSize(NamedTuple):
    """Size of a 3x3 convolution with stride 1."""

    in_channels: int
    out_channels: int
    images: int
    height: int
    width: int
    dtype: torch.dtype = torch.float32

    @property
    def tiles(self) -> int:
        """Number of tiles of 4x4 outputs."""
        return self.images * -(-self.height // 4) * -(-self.width // 4)


def use_winograd_by_heuristic(*size) -> bool:
    """Decide by the fields of ``ConvSize``, the same on every machine."""
    conv = ConvSize(*size)
    return (conv.dtype == torch.float32 and conv.in_channels >= MIN_CHANNELS
            and conv.tiles >= MIN_TILES)
