"""torch.export of a network, with the dimensions that stay open."""
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
)
from typing import NamedTuple

import torch
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config

from ..runtime.silence import silent
from .wrappers import Network

# Below, maps of one pixel would be a case of their own.
LEAST_SIDE = 33


class Shape(NamedTuple):
    """Of a network's input.

    Attributes:
        batch (int, optional): Images, None for any number.
        size (tuple[int, int]): Height and width, of the example if they are
            open.
        dynamic (bool): Whether height and width are open.
    """

    batch: int | None
    size: tuple[int, int]
    dynamic: bool

    @property
    def described(self) -> list:
        """For the description, words for what is open."""
        sides = ['height', 'width'] if self.dynamic else list(self.size)
        return ['batch' if self.batch is None else self.batch, 3, *sides]


def example(shape: Shape) -> torch.Tensor:
    """Images of a shape; grey, as their values do not matter."""
    # One image would make a constant of the batch.
    return torch.full((shape.batch or 2, 3, *shape.size), 127.)


def program_of(network: Network, shape: Shape) -> ExportedProgram:
    """Export a network for torch."""
    names = {index: name for index, name in enumerate(shape.described)
             if isinstance(name, str)}
    least = dict(batch=1, height=LEAST_SIDE, width=LEAST_SIDE)
    dynamic = {index: Dim(name, min=least[name])
               for index, name in names.items()}
    with torch.no_grad(), quiet(), _one_is_a_size_as_others():
        return torch.export.export(
            network, (example(shape), ), dynamic_shapes=(dynamic, ),
            strict=False)


def _one_is_a_size_as_others() -> AbstractContextManager:
    """Let no map of a single row or column be a case of its own.

    Those of a pyramid's last levels are, in small images, and the program
    would be for such images alone, or for all others. torch before 2.8 has no
    way to say so.
    """
    name = 'backed_size_oblivious'
    if not hasattr(_config, name):
        return nullcontext()
    # torch adds it to the module when it is imported.
    return _config.patch(name, True)  # type: ignore[attr-defined]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say about their own insides."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (warnings.catch_warnings(), redirect_stdout(io.StringIO()),
              redirect_stderr(io.StringIO())):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)


@contextmanager
def quiet_programs() -> Iterator[None]:
    """As :func:`quiet`, for what converters start or have in C++, too."""
    with silent(1, 2), quiet():
        yield
