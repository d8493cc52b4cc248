"""3x3 convolutions by Winograd's algorithm: a quarter of the multiplications.

A tile of 4x4 outputs depends on a patch of 6x6 inputs. Taken as polynomials,
patch and kernel are multiplied by their values at 6 points of each axis, the
last one at infinity: 36 products take the place of 16 * 9. Sources: Lavin and
Gray, Fast Algorithms for Convolutional Neural Networks,
https://arxiv.org/abs/1509.09308; Barabasz et al., Error Analysis and Improving
the Accuracy of Winograd Convolution for Deep Neural Networks,
https://arxiv.org/abs/1803.10986, on how the points decide on the rounding.

In float32 on a CPU only: lower precision would lose too much, and on a GPU
cuDNN knows the algorithm.
"""
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .choosing import MIN_CHANNELS, pays_by_constants
from .packed import PackedConv2d, Snapshot, infers_on_cpu
from .partwise import count_parts, join, may_loop

KERNEL = 3
TILE = 4
PATCH = TILE + KERNEL - 1
POINTS = (0, 1, -1, 1 / 2, -2)

# Tiles times channels that are computed at once, to stay in the caches.
PART_SIZE = 2**16


def _values(count: int) -> Tensor:
    """From ``count`` coefficients to the values at the points."""
    rows = [[point**power for power in range(count)] for point in POINTS]
    rows.append([0.] * (count - 1) + [1.])
    return torch.tensor(rows, dtype=torch.float64, device='cpu')


def _both_axes(matrix: Tensor) -> Tensor:
    return torch.kron(matrix, matrix)


TO_INPUT_VALUES = _both_axes(_values(PATCH).inverse().T).float()
TO_OUTPUTS = _both_axes(_values(TILE).T).float()


class TransformedKernels(NamedTuple):
    """A convolution's kernels as values at the points.

    Attributes:
        values (Tensor): The kernels, ``(36, C, C')``.
        source (Snapshot): What they were made from.
    """

    values: Tensor
    source: Snapshot

    @classmethod
    @torch.no_grad()
    def of(cls, weight: Tensor) -> 'TransformedKernels':
        """Transform a weight, ``(C', C, 3, 3)``, which has to be dense."""
        return cls(transform_kernels(weight), Snapshot.of(weight))


def transform_kernels(weight: Tensor) -> Tensor:
    """The values at the points, ``(36, C, C')``, of kernels."""
    # Made here, the matrix is a constant for compilers, and so is the result.
    to_values = _both_axes(_values(KERNEL))
    kernels = weight.permute(2, 3, 1, 0).flatten(0, 1).double()
    return torch.tensordot(to_values, kernels, dims=1).float()


class WinogradConv2d(PackedConv2d):
    """A 3x3 convolution of stride 1 that takes Winograd's way where it pays.

    That is: for inference in float32 on a CPU, with channels-last maps that
    are large enough. Whatever else comes, and what is traced or exported, is
    convolved directly. The parameters are those of the convolution that it
    takes the place of, and so are the outputs up to rounding. Weights may
    change at any time; the transformed kernels are made anew with the next
    image then. A compiler makes them in its graph, where they are constants
    if weights are (``torch._inductor.config.freezing``).

    The one change that cannot be seen is that of single values by
    ``weight.data``, behind the back of autograd: assign ``weight.data`` as a
    whole, or change ``weight`` under ``torch.no_grad()``.

    Args:
        conv (nn.Conv2d): One that :meth:`can_replace`. Its parameters are
            shared.

    Attributes:
        choose (Callable): Tells whether Winograd's way is faster, as
            :func:`.choosing.pays_by_constants` does, the default.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv)
        self.choose: Callable[..., bool] = pays_by_constants
        self._kernels: TransformedKernels | None = None

    @staticmethod
    def can_replace(module: nn.Module,
                    min_channels: int = MIN_CHANNELS) -> bool:
        """Whether it is such a convolution, with so many input channels."""
        return (isinstance(module, nn.Conv2d)
                and (PackedConv2d.can_replace(module)
                     or type(module) is PackedConv2d)
                and module.groups == 1
                and module.kernel_size == (KERNEL, KERNEL)
                and module.stride == module.padding == (1, 1)
                and module.dilation == (1, 1)
                and module.in_channels >= min_channels)

    def _apply(self, *args, **kwargs):
        # Four times as large as the weights, and of no use elsewhere.
        self._kernels = None
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict:
        """What is copied and pickled: all but what is made from it."""
        return super().__getstate__() | dict(_kernels=None)

    def kernel_values(self) -> Tensor:
        """The kernels' values at the points, ``(36, C, C')``."""
        if torch.compiler.is_compiling():
            return transform_kernels(self.weight)
        kernels = self._kernels
        if kernels is None or not kernels.source.is_current(
                self.weight):
            # Other threads may do the same, to the same effect.
            self._kernels = kernels = TransformedKernels.of(self.weight)
        return kernels.values

    def forward(self, x: Tensor) -> Tensor:
        if self.pays(x):
            return self.convolve_tiles(x)
        return super().forward(x)

    def pays(self, x: Tensor) -> bool:
        """Whether :meth:`convolve_tiles` is there for it, and faster."""
        if not infers_on_cpu(x, self.weight, (torch.float32, )):
            return False
        rows, columns = _tiles(x.shape[2]), _tiles(x.shape[3])
        images_at_once, rows_at_once = _part((rows, columns),
                                             self.out_channels)
        parts = (count_parts(len(x), images_at_once)
                 * count_parts(rows, rows_at_once))
        return (x.is_contiguous(memory_format=torch.channels_last)
                and may_loop(parts) and self._is_faster(x))

    def _is_faster(self, x: Tensor) -> bool:
        images, _, height, width = x.shape
        return self.choose(self.in_channels, self.out_channels, images, height,
                           width)

    def convolve_tiles(
            self, x: Tensor,
            pointwise: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """See :func:`convolve_tiles`."""
        return convolve_tiles(x, self.kernel_values(), self.bias, pointwise)


def _part(tiles: tuple[int, int], out_channels: int) -> tuple[int, int]:
    """How many images, and how many rows of tiles, to compute at once."""
    rows, columns = tiles
    at_once = PART_SIZE // out_channels
    return max(1, at_once // (rows * columns)), max(1, at_once // columns)


def convolve_tiles(
        x: Tensor, kernel_values: Tensor, bias: Tensor | None,
        pointwise: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Convolve part by part, by Winograd's algorithm.

    Args:
        x (Tensor): Maps, ``(N, C, H, W)``, channels-last.
        kernel_values (Tensor): From :func:`transform_kernels`.
        bias (Tensor, optional): Of the convolution, ``(C', )``.
        pointwise (Callable, optional): What to compute from the outputs,
            position by position, before they are put together; from
            ``(N, C, H, W)`` of any ``N``, ``H`` and ``W`` to other channels.
            Defaults to none.

    Returns:
        Tensor: The outputs, ``(N, C', H, W)``.
    """
    height, width = x.shape[2:]
    patches = _patches(x)
    images_at_once, rows_at_once = _part(
        (patches.shape[3], patches.shape[4]), kernel_values.shape[2])
    outputs = join([
        join([_convolve_patches(part, kernel_values, bias, pointwise)
               for part in images.split(rows_at_once, dim=3)], dim=1)
        for images in patches.split(images_at_once, dim=2)], dim=0)
    outputs = outputs[:, :height, :width].contiguous()
    return outputs.permute(0, 3, 1, 2)


def _convolve_patches(patches: Tensor, kernel_values: Tensor,
                      bias: Tensor | None,
                      pointwise: Callable | None) -> Tensor:
    """From ``(6, 6, N, rows, columns, C)`` to ``(N, H, W, C')``."""
    n, rows, columns, channels = patches.shape[2:]
    values = TO_INPUT_VALUES @ patches.reshape(PATCH**2, -1)
    products = torch.bmm(values.view(PATCH**2, -1, channels),
                         kernel_values).transpose(0, 1)
    # Tile by tile, although one multiplication could do for all of them:
    # a tile's products stay in the cache.
    to_outputs = TO_OUTPUTS.expand(len(products), -1, -1)
    outputs = (torch.bmm(to_outputs, products) if bias is None else
               torch.baddbmm(bias, to_outputs, products))
    if pointwise is not None:
        maps = outputs.unsqueeze(0).permute(0, 3, 1, 2)
        outputs = pointwise(maps).permute(0, 2, 3, 1)
    tiles = outputs.reshape(n, rows, columns, TILE, TILE, -1)
    return tiles.transpose(2, 3).reshape(
        n, rows * TILE, columns * TILE, -1)


def _tiles(size: int) -> int:
    return count_parts(size, TILE)


def _patches(x: Tensor) -> Tensor:
    """Each tile's inputs: ``(6, 6, N, rows, columns, C)``."""
    height, width = x.shape[2:]
    bottom = _tiles(height) * TILE + 1 - height
    right = _tiles(width) * TILE + 1 - width
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, right, 1, bottom))
    patches = x.unfold(1, PATCH, TILE).unfold(2, PATCH, TILE)
    return patches.permute(4, 5, 0, 1, 2, 3)
