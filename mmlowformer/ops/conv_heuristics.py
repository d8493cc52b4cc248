"""Where Winograd convolution pays, by constants."""
from typing import NamedTuple

import torch

# Where it was faster than a direct convolution, with AVX2 and AVX-512. With
# fewer channels moving the values takes longer than multiplying them; with
# fewer tiles, reading the kernels does.
MIN_CHANNELS = 128
MIN_TILES = 48


class Size(NamedTuple):
    """How much a 3x3 convolution of stride 1 has to do.

    Attributes:
        in_channels (int): Channels of its input.
        out_channels (int): Channels of its output.
        images (int): Images in the batch.
        height (int): Of the maps.
        width (int): Of the maps.
        dtype (torch.dtype): Of inputs, weight and outputs.
    """

    in_channels: int
    out_channels: int
    images: int
    height: int
    width: int
    dtype: torch.dtype = torch.float32

    @property
    def tiles(self) -> int:
        """How many tiles of 4x4 outputs there are."""
        return self.images * -(-self.height // 4) * -(-self.width // 4)


def pays_by_constants(in_channels: int, out_channels: int, images: int,
                      height: int, width: int,
                      dtype: torch.dtype = torch.float32) -> bool:
    """Whether Winograd's way is taken, the same on every machine."""
    size = Size(in_channels, out_channels, images, height, width, dtype)
    return (dtype == torch.float32 and in_channels >= MIN_CHANNELS
            and size.tiles >= MIN_TILES)
