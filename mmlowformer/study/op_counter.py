"""Count the work of a network's operators without running it."""
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ..utils.tensors import tensors_in

# With fewer channels a convolution makes little use of wide instructions.
WIDE = 64


@dataclass
class Work:
    """The work of a network for each image, by kinds of operators."""

    macs: dict[str, int] = field(default_factory=Counter)
    # Values that each operator reads and writes, without weights.
    elements: dict[str, int] = field(default_factory=Counter)
    # Values of weights, for all images.
    weights: int = 0
    operators: int = 0

    def bytes_moved(self, batch_size: int, itemsize: int) -> int:
        """Bytes that all operators of a call read and write."""
        return itemsize * (batch_size * sum(self.elements.values())
                           + self.weights)


class _Counter(TorchDispatchMode):
    """Counts the operators that run while it is entered."""

    def __init__(self):
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if not func.is_view:
            self._count(func, args, kwargs, output)
        return output

    def _count(self, func, args, kwargs, output) -> None:
        inputs = tensors_in([*args, *kwargs.values()])
        weights = [x for x in inputs if isinstance(x, nn.Parameter)]
        moved = sum(map(Tensor.numel, [*inputs, *tensors_in(output)]))
        moved -= (used := sum(map(Tensor.numel, weights)))
        packet = func._overloadpacket
        kind = _kind(packet.__name__, args)
        if packet in flop_registry:
            flops = flop_registry[packet](*args, **kwargs, out_val=output)
            self.work.macs[kind] += flops // 2
        self.work.elements[kind] += moved
        self.work.weights += used
        self.work.operators += 1


def _kind(name: str, args: tuple) -> str:
    if name == 'convolution':
        return _kind_of_convolution(*args)
    return 'products' if name in ('bmm', 'mm', 'addmm', 'baddbmm') or \
        'attention' in name else 'others'


def _kind_of_convolution(x: Tensor, weight: Tensor, bias, stride, padding,
                         dilation, transposed: bool, output_padding,
                         groups: int) -> str:
    if groups > 1:
        return 'depthwise' if weight.shape[1] == 1 else 'grouped'
    if transposed:
        return 'transposed'
    narrow = 'narrow ' if min(weight.shape[:2]) < WIDE else ''
    return narrow + ('1x1' if weight.shape[2:].numel() == 1 else 'dense')


def count_operators(build: Callable[[], nn.Module], shape: tuple[int, int],
               channels: int = 3) -> Work:
    """Count the work of a network."""
    with torch.device('meta'):
        model = build().eval()
        image = torch.zeros(1, channels, *shape)
    with torch.no_grad(), _Counter() as counter:
        model(image)
    return counter.work
