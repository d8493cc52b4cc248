"""What a runtime computes at once, put down to the layers of a network.

A runtime does not run layers: it runs kernels, which hold parts of layers, a
whole layer, or several. Work is known by layers, time by kernels. They meet
in blocks: the layers whose multiplications share a kernel, and all kernels
that hold those.
"""
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import UserError
from ..utils.timing import median

WHOLE = '(itself)'


@dataclass
class Kernel:
    """What a runtime computes at once.

    Attributes:
        kind (str): What the runtime calls it.
        layers (tuple[str, ...]): The layers whose convolutions and matrix
            products it holds; if there are none, all that it has a part of;
            empty if the runtime added it.
        multiplies (bool): Whether it holds a convolution or a matrix product.
        seconds (list[float]): Of each call of the network.
    """

    kind: str
    layers: tuple[str, ...] = ()
    multiplies: bool = False
    seconds: list[float] = field(default_factory=list)


class Profiler(Protocol):
    """Runs a network while its runtime times the kernels."""

    def __call__(self) -> None:
        """Run the network once."""

    def forget(self) -> None:
        """Take away what was measured while warming up."""

    def kernels(self) -> list[Kernel]:
        """All kernels, in the order in which they run."""


def enclosing(names: Iterable[str], path: Iterable[str]) -> str:
    """Find the layer that a path of an exporter leads to."""
    known = set(names)
    found = ''
    for part in path:
        parents = found.split('.') if found else []
        for depth in range(len(parents), -1, -1):
            name = '.'.join([*parents[:depth], part])
            if name in known:
                found = name
                break
    return found


def blocks_of(kernels: Iterable[Kernel]) -> dict[str, tuple[str, ...]]:
    """Join layers whose multiplications share a kernel."""
    blocks: dict[str, tuple[str, ...]] = {}
    for kernel in kernels:
        if kernel.multiplies:
            joined = dict.fromkeys(
                name for layer in kernel.layers
                for name in blocks.get(layer, (layer, )))
            blocks.update(dict.fromkeys(joined, tuple(joined)))
    return blocks


def rows_of(kernels: list[Kernel], macs: Mapping[str, int],
            facts: Callable[[str], tuple[str, int]],
            batch_size: int) -> list[dict]:
    """Sum kernels up to what is shown."""
    blocks = blocks_of(kernels)
    work = _placed(macs, blocks)
    members: dict[tuple[str, ...], list[Kernel]] = {}
    for kernel in kernels:
        around = {blocks.get(layer, (layer, )) for layer in kernel.layers}
        key = around.pop() if len(around) == 1 else kernel.layers
        members.setdefault(key or (f'({kernel.kind})', ), []).append(kernel)
    return [_row(layers, inside, work if blocks.get(layers[0]) == layers
                 else {}, facts, batch_size)
            for layers, inside in members.items()]


def _placed(macs: Mapping[str, int],
            blocks: Collection[str]) -> dict[str, int]:
    """Work that a rewritten layer takes over goes to the layer around it."""
    work: dict[str, int] = {}
    for layer, count in macs.items():
        name = layer
        while name and name not in blocks:
            name = name.rpartition('.')[0]
        if name not in blocks:
            raise UserError(
                f'the runtime does not say which kernels compute {layer!r}; '
                'rewrite them with --deploy, or leave --compile and --backend '
                'out')
        work[name] = work.get(name, 0) + count
    return work


def _row(layers: tuple[str, ...], kernels: list[Kernel],
         work: Mapping[str, int], facts: Callable[[str], tuple[str, int]],
         batch_size: int) -> dict:
    calls = zip(*(kernel.seconds for kernel in kernels), strict=True)
    row = dict(name=_title(layers),
               macs=batch_size * sum(work.get(name, 0) for name in layers),
               milliseconds=1e3 * median([sum(call) for call in calls]))
    if not kernels[0].layers:
        return dict(row, kind=kernels[0].kind, bytes=0)
    kinds, sizes = zip(*map(facts, layers))
    return dict(row, kind=' + '.join(dict.fromkeys(kinds)), bytes=sum(sizes))


def _title(layers: tuple[str, ...]) -> str:
    """Names with what they have in common said once."""
    if len(layers) == 1:
        return layers[0] or WHOLE
    shared = os.path.commonprefix([name.split('.') for name in layers])
    inside = [name.split('.')[len(shared):] for name in layers]
    return f'{".".join(shared)} ' * bool(shared) + ' + '.join(
        '.'.join(parts) or WHOLE for parts in inside)
