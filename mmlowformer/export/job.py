"""Settings and state that the writers of all formats share."""
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
)
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config

from ..runtime.model_spec import Description
from ..runtime.silence import silent
from .wrappers import ExportWrapper

# Key of our entries in a file's own metadata.
KEY = 'mmlowformer'
# Below, feature maps of one pixel would be a special case.
LEAST_SIDE = 33


class InputShape(NamedTuple):
    """Shape of a model's input."""

    # None for any number of images.
    batch: int | None
    # Height and width; of the example, if they are dynamic.
    size: tuple[int, int]
    dynamic: bool

    @property
    def described(self) -> list:
        """The shape for the description, with names of dynamic dimensions."""
        sides = ['height', 'width'] if self.dynamic else list(self.size)
        return ['batch' if self.batch is None else self.batch, 3, *sides]

    def example(self) -> torch.Tensor:
        """Gray images of this shape."""
        # A single image would make the batch size a constant.
        return torch.full((self.batch or 2, 3, *self.size), 127.)


@dataclass
class ExportJob:
    """A model to be written, with its input shape and description."""

    model: ExportWrapper
    shape: InputShape
    description: Description
    # Yields images (1, 3, h, w) for 8 bits.
    calibration: Callable[[], Iterator[np.ndarray]] = lambda: iter(())

    @property
    def metadata(self) -> dict[str, str]:
        """Entries for the file itself: the description, and common keys."""
        # Checksums of the file would change with them.
        whole = replace(self.description, sha256={}, verification={})
        return {KEY: json.dumps(vars(whole)), 'task': whole.task,
                'names': json.dumps(dict(enumerate(whole.classes))),
                'channel_order': whole.input['channel_order'],
                'precision': whole.precision}


def export_program(model: ExportWrapper, shape: InputShape) -> ExportedProgram:
    """Export a model with torch."""
    least = dict(batch=1, height=LEAST_SIDE, width=LEAST_SIDE)
    dynamic = {index: Dim(name, min=least[name])
               for index, name in enumerate(shape.described)
               if isinstance(name, str)}
    with torch.no_grad(), quiet(), _no_special_sizes():
        return torch.export.export(
            model, (shape.example(), ), dynamic_shapes=(dynamic, ),
            strict=False)


def _no_special_sizes() -> AbstractContextManager:
    """Treat maps with a single row or column like all others.

    Small images have them in the last levels of a pyramid, and the program
    would be for such images only, or for all others. torch before 2.8 lacks
    the setting.
    """
    name = 'backed_size_oblivious'
    if not hasattr(_config, name):
        return nullcontext()
    # torch adds it to the module when it is imported.
    return _config.patch(name, True)  # type: ignore[attr-defined]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress logs, warnings and output of exporters."""
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
    """As :func:`quiet`, including C++ code and other processes."""
    with silent(1, 2), quiet():
        yield
