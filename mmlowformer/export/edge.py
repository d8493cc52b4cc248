"""Formats for phones and small boards."""
import copy
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import UserError
from ..optional import need
from .inputs import Preparation
from .networks import Network
from .program import quiet

if TYPE_CHECKING:
    from .formats import Source


def without_padding(network: Network) -> Network:
    """A network that leaves the padding to the runtime.

    Args:
        network (Network): Stays as it is.

    Returns:
        Network: Shares its weights.
    """
    other = copy.copy(network)
    other._modules = dict(network._modules)
    other.preparation = Preparation(replace(network.rule, divisor=1))
    return other


@contextmanager
def silent() -> Iterator[None]:
    """Without what programs that are called write to the terminal."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        with open(os.devnull, 'wb') as nowhere, quiet():
            for descriptor in (1, 2):
                os.dup2(nowhere.fileno(), descriptor)
            yield
    finally:
        for descriptor, copied in zip((1, 2), kept):
            os.dup2(copied, descriptor)
            os.close(copied)


def write_ncnn(source: 'Source', folder: Path) -> list[str]:
    """Write ``model.ncnn.param`` and ``model.ncnn.bin``, by way of pnnx."""
    pnnx = need('pnnx', 'pnnx==20261020')
    height, width = source.shape.size
    # From one size pnnx takes all others for the same.
    first, second = (torch.full((1, 3, *size), 127.) for size in (
        (height, width), (height + 64, width + 32)))
    files = ['model.ncnn.param', 'model.ncnn.bin']
    with tempfile.TemporaryDirectory() as between:
        with silent(), torch.no_grad():
            pnnx.export(without_padding(source.network),
                        str(Path(between, 'model.pt')), inputs=(first, ),
                        inputs2=(second, ), fp16=False)
        for name in files:
            if not Path(between, name).exists():
                raise UserError('pnnx could not convert this model to ncnn')
            shutil.move(Path(between, name), folder / name)
    return files


def write_executorch(source: 'Source', folder: Path) -> list[str]:
    """Write ``model.pte``, for XNNPACK."""
    executorch = need('executorch.exir', 'executorch==1.3.1')
    xnnpack = need(
        'executorch.backends.xnnpack.partition.xnnpack_partitioner',
        'executorch==1.3.1')
    with silent():
        program = executorch.to_edge_transform_and_lower(
            source.make_program(),
            partitioner=[xnnpack.XnnpackPartitioner()]).to_executorch()
        (folder / 'model.pte').write_bytes(program.buffer)
    return ['model.pte']


def write_coreml(source: 'Source', folder: Path) -> list[str]:
    """Write ``model.mlpackage``, which only Apple's systems can run."""
    coremltools = need('coremltools', 'coremltools==9.0')
    from .formats import metadata
    example = torch.full((1, 3, *source.shape.size), 127.)
    with silent(), torch.no_grad():
        traced = torch.jit.trace(source.network, example)
        model = coremltools.convert(
            traced, convert_to='mlprogram',
            inputs=[coremltools.TensorType(
                name=source.description.input['name'], shape=example.shape)],
            outputs=[coremltools.TensorType(name=name)
                     for name in source.network.output_names])
        model.short_description = 'Converted, not verified.'
        model.user_defined_metadata.update(metadata(source.description))
        model.save(str(folder / 'model.mlpackage'))
    return sorted(str(file.relative_to(folder)) for file in
                  (folder / 'model.mlpackage').rglob('*') if file.is_file())
