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

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .partwise import count_parts, is_exported, join, may_loop

KERNEL = 3
TILE = 4
PATCH = TILE + KERNEL - 1
POINTS = (0, 1, -1, 1 / 2, -2)

# Where it was faster than a direct convolution. With fewer channels moving the
# values takes longer than multiplying them; with fewer tiles, reading the
# kernels does.
MIN_CHANNELS = 128
MIN_TILES = 16
# Tiles times channels that are computed at once, to stay in the caches.
PART_SIZE = 2**16


def _values(count: int) -> Tensor:
    """From ``count`` coefficients to the values at the points."""
    rows = [[point**power for power in range(count)] for point in POINTS]
    rows.append([0] * (count - 1) + [1])
    return torch.tensor(rows, dtype=torch.float64, device='cpu')


def _both_axes(matrix: Tensor) -> Tensor:
    return torch.kron(matrix, matrix)


TO_INPUT_VALUES = _both_axes(_values(PATCH).inverse().T).float()
TO_KERNEL_VALUES = _both_axes(_values(KERNEL))
TO_OUTPUTS = _both_axes(_values(TILE).T).float()


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 1 that takes Winograd's way where it pays.

    That is: for inference in float32 on a CPU, with channels-last maps that
    are large enough. Whatever else comes, and what is traced or exported, is
    convolved directly. The parameters are those of the convolution that it
    takes the place of, and so are the outputs up to rounding.

    Args:
        conv (nn.Conv2d): One that :meth:`can_replace`. Its parameters are
            shared.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__(conv.in_channels, conv.out_channels, KERNEL,
                         padding=1, device='meta')
        self.weight, self.bias = conv.weight, conv.bias
        self.register_buffer('kernel_values', None, persistent=False)
        self._transform_weight()
        self.train(conv.training)

    @staticmethod
    def can_replace(module: nn.Module) -> bool:
        """Whether it is such a convolution, with channels enough to pay."""
        return (type(module) is nn.Conv2d and module.groups == 1
                and module.kernel_size == (KERNEL, KERNEL)
                and module.stride == module.padding == (1, 1)
                and module.dilation == (1, 1)
                and module.padding_mode == 'zeros'
                and module.bias is not None
                and module.in_channels >= MIN_CHANNELS)

    @torch.no_grad()
    def _transform_weight(self) -> None:
        weight = self.weight
        self.kernel_values = None
        if weight.device.type == 'cpu' and weight.dtype == torch.float32:
            kernels = weight.permute(2, 3, 1, 0).flatten(0, 1).double()
            values = torch.tensordot(TO_KERNEL_VALUES, kernels, dims=1)
            self.kernel_values = values.float()

    def _apply(self, *args, **kwargs):
        # Four times as large as the weights, and of no use elsewhere.
        self.kernel_values = None
        super()._apply(*args, **kwargs)
        self._transform_weight()
        return self

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        self._transform_weight()

    def forward(self, x: Tensor) -> Tensor:
        if self.pays(x):
            return self.convolve_tiles(x)
        return super().forward(x)

    def pays(self, x: Tensor) -> bool:
        """Whether :meth:`convolve_tiles` is there for it, and faster."""
        if (self.kernel_values is None or x.dtype != torch.float32
                or torch.is_grad_enabled() or _autocasts() or is_exported()):
            return False
        rows, columns = _tiles(x.shape[2]), _tiles(x.shape[3])
        images_at_once, rows_at_once = self._part(rows, columns)
        parts = (count_parts(len(x), images_at_once)
                 * count_parts(rows, rows_at_once))
        return (x.is_contiguous(memory_format=torch.channels_last)
                and len(x) * rows * columns >= MIN_TILES
                and may_loop(parts))

    def _part(self, rows: int, columns: int) -> tuple[int, int]:
        """How many images, and how many rows of tiles, to compute at once."""
        tiles = PART_SIZE // self.out_channels
        return max(1, tiles // (rows * columns)), max(1, tiles // columns)

    def convolve_tiles(
            self, x: Tensor,
            pointwise: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Convolve part by part, by Winograd's algorithm.

        Args:
            x (Tensor): Maps, ``(N, C, H, W)``.
            pointwise (Callable, optional): What to compute from the outputs,
                position by position, before they are put together; from
                ``(N, C, H, W)`` of any ``N``, ``H`` and ``W`` to other
                channels. Defaults to none.

        Returns:
            Tensor: The outputs, ``(N, C', H, W)``.
        """
        height, width = x.shape[2:]
        patches = _patches(x)
        images_at_once, rows_at_once = self._part(*patches.shape[3:5])
        outputs = join([
            join([self._convolve_patches(part, pointwise)
                   for part in images.split(rows_at_once, dim=3)], dim=1)
            for images in patches.split(images_at_once, dim=2)], dim=0)
        outputs = outputs[:, :height, :width].contiguous()
        return outputs.permute(0, 3, 1, 2)

    def _convolve_patches(self, patches: Tensor,
                          pointwise: Callable | None) -> Tensor:
        """From ``(6, 6, N, rows, columns, C)`` to ``(N, H, W, C')``."""
        n, rows, columns, channels = patches.shape[2:]
        values = TO_INPUT_VALUES @ patches.reshape(PATCH**2, -1)
        products = torch.bmm(values.view(PATCH**2, -1, channels),
                             self.kernel_values).transpose(0, 1)
        # Tile by tile, although one multiplication could do for all of them:
        # a tile's products stay in the cache.
        outputs = torch.baddbmm(
            self.bias, TO_OUTPUTS.expand(len(products), -1, -1), products)
        if pointwise is not None:
            maps = outputs.unsqueeze(0).permute(0, 3, 1, 2)
            outputs = pointwise(maps).permute(0, 2, 3, 1)
        tiles = outputs.reshape(n, rows, columns, TILE, TILE, -1)
        return tiles.transpose(2, 3).reshape(
            n, rows * TILE, columns * TILE, -1)


def _autocasts() -> bool:
    try:
        return torch.is_autocast_enabled('cpu')
    except TypeError:  # torch before 2.4
        return torch.is_autocast_cpu_enabled()


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
