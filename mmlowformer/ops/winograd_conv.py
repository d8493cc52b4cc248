"""Winograd convolution, F(4x4, 3x3): a quarter of the multiplications.

A tile of 4x4 outputs depends on a patch of 6x6 inputs. As polynomials, patch
and kernel are multiplied by their values at 6 points of each axis, the last
one at infinity: 36 products replace 16 * 9. Sources: Lavin and Gray, Fast
Algorithms for Convolutional Neural Networks, https://arxiv.org/abs/1509.09308;
Barabasz et al., Error Analysis and Improving the Accuracy of Winograd
Convolution for Deep Neural Networks, https://arxiv.org/abs/1803.10986, on how
the points determine the rounding error.

On CPUs only: on a GPU, cuDNN has the algorithm. Maps and weights may be
bfloat16; the computation is in float32, as rounding values, kernels and
products to bfloat16 had several times the error of a direct convolution.
"""
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .chunking import can_unroll, concat, count_chunks
from .conv_heuristics import MIN_CHANNELS, use_winograd_by_heuristic
from .packed_conv import (
    DTYPES,
    ConvSettings,
    PackedConv2d,
    Snapshot,
    can_pack,
    convolve_packed,
    infers_on_cpu,
    layout_of,
    pack_weight,
)

KERNEL = 3
TILE = 4
PATCH = TILE + KERNEL - 1
POINTS = (0, 1, -1, 1 / 2, -2)
POINTWISE = ConvSettings(groups=PATCH**2)

# Tiles times channels of a chunk, which has to fit into the caches.
CHUNK_SIZE = 2**16


def _values(count: int) -> Tensor:
    """The matrix from polynomial coefficients to values at the points."""
    rows = [[point**power for power in range(count)] for point in POINTS]
    rows.append([0.] * (count - 1) + [1.])
    return torch.tensor(rows, dtype=torch.float64, device='cpu')


def _both_axes(matrix: Tensor) -> Tensor:
    return torch.kron(matrix, matrix)


TO_INPUT_VALUES = _both_axes(_values(PATCH).inverse().T).float()
TO_OUTPUTS = _both_axes(_values(TILE).T).float()


def transform_kernels(weight: Tensor) -> Tensor:
    """Evaluate kernels at the points."""
    to_values = _both_axes(_values(KERNEL))
    kernels = weight.permute(2, 3, 0, 1).flatten(0, 1).double()
    values = torch.tensordot(to_values, kernels, dims=1).float()
    return values.flatten(0, 1)[..., None, None]


def pack_kernels(kernels: Tensor, tiles: int) -> Tensor:
    """Convert transformed kernels to oneDNN's layout."""
    size = 1, PATCH**2 * kernels.shape[1], tiles, 1
    return pack_weight(kernels, size, POINTWISE)


@cache
def kernel_layout(in_channels: int, out_channels: int, tiles: int) -> bytes:
    """The layout that :func:`pack_kernels` chooses.

    With another layout, each multiplication may convert it, which took up to
    forty times as long as the multiplication.
    """
    if not can_pack():
        return b''
    kernels = torch.empty(PATCH**2 * out_channels, in_channels, 1, 1)
    return layout_of(pack_kernels(kernels, tiles))


def kernels_for(weight: Tensor, tiles: int) -> Tensor:
    """Kernels for :func:`multiply`."""
    kernels = transform_kernels(weight)
    return pack_kernels(kernels, tiles) if can_pack() else kernels


def _like_kernels(weight: Tensor, tiles: int) -> Tensor:
    out_channels, channels = weight.shape[:2]
    # A tensor in oneDNN's layout has these strides for all sizes.
    strides = (1, 0, 0, 0) if can_pack() else (channels, 1, 1, 1)
    return weight.new_empty_strided(
        (PATCH**2 * out_channels, channels, 1, 1), strides,
        dtype=torch.float32)


# One operator for compilers: their graphs share it among all maps of a weight,
# and make it a constant if the weight is one.
LIBRARY = torch.library.Library('mmlowformer', 'DEF')
LIBRARY.define('winograd_kernels(Tensor weight, int tiles) -> Tensor')
LIBRARY.impl('winograd_kernels', kernels_for, 'CPU')
LIBRARY.impl('winograd_kernels', _like_kernels, 'Meta')

_FIRST_TILES: dict[tuple[int, int, bytes], int] = {}


# A compiler calls it once and keeps the result.
@torch.compiler.assume_constant_result
def typical_tiles(in_channels: int, out_channels: int, tiles: int) -> int:
    """One number for all numbers of tiles with the same kernel layout."""
    layout = kernel_layout(in_channels, out_channels, tiles)
    return _FIRST_TILES.setdefault((in_channels, out_channels, layout), tiles)


class TransformedKernels:
    """A convolution's transformed kernels, one copy for each layout."""

    def __init__(self, weight: Tensor):
        self.source = Snapshot.of(weight)
        self._values: dict[int, Tensor] = {}

    def for_tiles(self, tiles: int) -> Tensor:
        """Kernels for :func:`multiply` with this number of tiles."""
        out_channels, channels = self.source.weight.shape[:2]
        tiles = typical_tiles(channels, out_channels, tiles)
        # Other threads may do the same, with the same result.
        if tiles not in self._values:
            with torch.no_grad():
                self._values[tiles] = kernels_for(self.source.weight, tiles)
        return self._values[tiles]


def multiply(values: Tensor, kernels: Tensor) -> Tensor:
    """Multiply tiles and kernels: a 1x1 convolution with points as groups."""
    tiles, points, channels = values.shape
    if not can_pack():
        kernels = kernels.view(points, -1, channels).transpose(1, 2)
        return torch.bmm(values.transpose(0, 1), kernels).transpose(0, 1)
    maps = values.view(1, tiles, 1, -1).permute(0, 3, 1, 2)
    products = convolve_packed(maps, kernels, None, POINTWISE)
    return products.permute(0, 2, 3, 1).reshape(tiles, points, -1)


class WinogradConv2d(PackedConv2d):
    """A 3x3 convolution with stride 1 that uses Winograd where it is faster.

    For inference in float32 or bfloat16 on a CPU, with channels-last maps that
    are large enough. All other calls, and tracing or exporting, use the direct
    convolution. Parameters are those of the replaced convolution, outputs are
    equal up to rounding. Weights may change at any time: the next call
    transforms the kernels again. A compiler transforms them in its graph, as
    constants if weights are (``torch._inductor.config.freezing``).

    Changes of single values through ``weight.data`` are not detected: assign
    ``weight.data`` as a whole, or change ``weight`` under
    ``torch.no_grad()``.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv)
        self.choose: Callable[..., bool] = use_winograd_by_heuristic
        self._kernels: TransformedKernels | None = None

    @staticmethod
    def can_replace(module: nn.Module,
                    min_channels: int = MIN_CHANNELS) -> bool:
        """Whether it is such a convolution with enough input channels."""
        return (isinstance(module, nn.Conv2d)
                and (PackedConv2d.can_replace(module)
                     or type(module) is PackedConv2d)
                and module.groups == 1
                and module.kernel_size == (KERNEL, KERNEL)
                and module.stride == module.padding == (1, 1)
                and module.dilation == (1, 1)
                and module.in_channels >= min_channels)

    def clear_packed(self) -> None:
        """Free what was made from the weight."""
        super().clear_packed()
        self._kernels = None

    def __getstate__(self) -> dict:
        """Copy and pickle without the transformed kernels."""
        return super().__getstate__() | dict(_kernels=None)

    def _kernels_by_tiles(self) -> Callable[[int], Tensor]:
        """A function from a number of tiles to kernels for it."""
        if torch.compiler.is_compiling():
            return lambda tiles: torch.ops.mmlowformer.winograd_kernels(
                self.weight, typical_tiles(self.in_channels,
                                           self.out_channels, tiles))
        # Other threads may clear it meanwhile.
        transformed = self._kernels
        if transformed is None or not transformed.source.is_current(
                self.weight):
            self._kernels = transformed = TransformedKernels(self.weight)
        return transformed.for_tiles

    def forward(self, x: Tensor) -> Tensor:
        if self.use_winograd(x):
            return self.convolve_tiles(x)
        return super().forward(x)

    def use_winograd(self, x: Tensor) -> bool:
        """Whether :meth:`convolve_tiles` can compute it, and is faster."""
        if not infers_on_cpu(x, self.weight, DTYPES):
            return False
        return (x.is_contiguous(memory_format=torch.channels_last)
                and can_unroll(prod(Chunks.of(x, self.out_channels)))
                and self.choose(self.in_channels, self.out_channels, len(x),
                                *x.shape[2:], x.dtype))

    def convolve_tiles(
            self, x: Tensor,
            pointwise: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Compute a Winograd convolution in chunks.

        ``pointwise`` is applied to each chunk of the outputs.
        """
        height, width = x.shape[2:]
        maps = x.permute(0, 2, 3, 1)
        chunks = Chunks.of(x, self.out_channels)
        kernels = self._kernels_by_tiles()
        tiles = concat([
            concat([_convolve_rows(images, rows, kernels, self.bias, pointwise)
                  for rows in _ranges(_tiles(height), chunks.of_rows)], dim=1)
            for images in maps.tensor_split(chunks.of_images)], dim=0)
        outputs = tiles.flatten(3, 4).flatten(1, 2)
        outputs = outputs[:, :height, :width].contiguous()
        if torch.compiler.is_compiling() and prod(chunks) == 1:
            # Concatenating writes the outputs to memory. Otherwise a resize
            # that follows would look up each value in the tiles.
            outputs = torch.cat(outputs.tensor_split(2, dim=1), dim=1)
        return outputs.permute(0, 3, 1, 2)


class Chunks(NamedTuple):
    """Numbers of chunks of a batch, and of the rows of tiles in each."""

    of_images: int
    of_rows: int

    @classmethod
    def of(cls, x: Tensor, out_channels: int) -> 'Chunks':
        """Divide maps ``(N, C, H, W)`` into chunks of similar size."""
        rows, columns = _tiles(x.shape[2]), _tiles(x.shape[3])
        at_once = CHUNK_SIZE // max(x.shape[1], out_channels)
        return cls(count_chunks(len(x), max(1, at_once // (rows * columns))),
                   count_chunks(rows, max(1, at_once // columns)))


def _convolve_rows(maps: Tensor, rows: range,
                   kernels: Callable[[int], Tensor], bias: Tensor | None,
                   pointwise: Callable | None) -> Tensor:
    """From ``(N, H, W, C)`` to ``(N, rows, 4, columns, 4, C')``."""
    patches = _patches(maps, rows)
    n, columns = len(maps), patches.shape[2]
    patches = patches.reshape(-1, PATCH**2, maps.shape[3])
    # Tile by tile rather than in one multiplication, so that a tile's values
    # stay in the cache.
    values = torch.bmm(TO_INPUT_VALUES.expand(len(patches), -1, -1), patches)
    products = multiply(values, kernels(len(values)))
    to_outputs = TO_OUTPUTS.expand(len(products), -1, -1)
    outputs = (torch.bmm(to_outputs, products) if bias is None else
               torch.baddbmm(bias.float(), to_outputs, products))
    outputs = outputs.to(maps.dtype)
    if pointwise is not None:
        outputs = pointwise(outputs.unsqueeze(0).permute(0, 3, 1, 2))
        outputs = outputs.permute(0, 2, 3, 1)
    tiles = outputs.reshape(n, len(rows), columns, TILE, TILE, -1)
    return tiles.transpose(2, 3)


def _patches(maps: Tensor, rows: range) -> Tensor:
    """Patches of some rows of tiles: ``(N, rows, columns, 6, 6, C)``."""
    height, width = maps.shape[1:3]
    # A tile depends on one more position on each side.
    start, stop = rows.start * TILE - 1, rows.stop * TILE + 1
    above, below = max(0, -start), max(0, stop - height)
    right = _tiles(width) * TILE + 1 - width
    maps = F.pad(maps[:, start + above:stop - below].float(),
                 (0, 0, 1, right, above, below))
    patches = maps.unfold(1, PATCH, TILE).unfold(2, PATCH, TILE)
    return patches.permute(0, 1, 2, 4, 5, 3)


def _tiles(size: int) -> int:
    return count_chunks(size, TILE)


def _ranges(size: int, chunks: int) -> list[range]:
    """Split a range into chunks whose sizes differ by at most one."""
    ends = [size * part // chunks for part in range(chunks + 1)]
    return [range(*pair) for pair in pairwise(ends)]
