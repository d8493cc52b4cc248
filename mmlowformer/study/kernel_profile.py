"""Assign the kernels of a runtime to the layers of a network.

A runtime runs kernels, which hold parts of layers, a layer, or several. Work
is known by layers, time by kernels. Both are summed over blocks: the layers
whose multiplications share a kernel, and all kernels of these layers.
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
    """A unit of computation of a runtime."""

    # As the runtime names it.
    kind: str
    # The layers whose convolutions and matrix products it holds; without
    # any, all layers of which it has a part; empty if the runtime added it.
    layers: tuple[str, ...] = ()
    # Whether it holds a convolution or a matrix product.
    multiplies: bool = False
    # For each call of the network.
    seconds: list[float] = field(default_factory=list)


class Profiler(Protocol):
    """Runs a network while its runtime times the kernels."""

    def __call__(self) -> None:
        """Run the network once."""

    def forget(self) -> None:
        """Discard the measurements of the warm-up."""

    def kernels(self) -> list[Kernel]:
        """All kernels, in the order in which they run."""


def enclosing(names: Iterable[str], path: Iterable[str]) -> str:
    """Find the layer that an exporter's path ends in."""
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
    """Join layers whose multiplications share a kernel into blocks."""
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
    """Sum kernels by blocks, one row each."""
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
    """Assign the MACs of layers without kernels to the enclosing layer."""
    work: dict[str, int] = {}
    for layer, count in macs.items():
        name = layer
        while name and name not in blocks:
            name = name.rpartition('.')[0]
        if name not in blocks:
            raise UserError(
                f'the runtime does not report which kernels compute {layer!r};'
                ' rewrite them with --deploy, or omit --compile and --backend')
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
    """Names of layers, with their common prefix only once."""
    if len(layers) == 1:
        return layers[0] or WHOLE
    shared = os.path.commonprefix([name.split('.') for name in layers])
    inside = [name.split('.')[len(shared):] for name in layers]
    return f'{".".join(shared)} ' * bool(shared) + ' + '.join(
        '.'.join(parts) or WHOLE for parts in inside)
