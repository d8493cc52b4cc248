"""Formats for phones and small boards."""
import copy
import importlib.resources
import os
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import UserError
from .metadata import KEY, metadata
from .preprocessing import Preparation
from .program import example, quiet_programs
from .quantization import quantize_tflite
from .requirements import need_pinned
from .wrappers import Network

if TYPE_CHECKING:
    from .source import Source


def without_padding(network: Network) -> Network:
    """A network that leaves the padding to the runtime."""
    other = copy.copy(network)
    other._modules = dict(network._modules)
    other.preparation = Preparation(replace(network.rule, divisor=1))
    return other


def write_ncnn(source: 'Source', folder: Path) -> list[str]:
    """Write ``model.ncnn.param`` and ``model.ncnn.bin``, by way of pnnx."""
    pnnx = need_pinned('pnnx')
    height, width = source.shape.size
    # From one size pnnx takes all others for the same.
    first, second = (torch.full((1, 3, *size), 127.) for size in (
        (height, width), (height + 64, width + 32)))
    files = ['model.ncnn.param', 'model.ncnn.bin']
    with tempfile.TemporaryDirectory() as between:
        with quiet_programs(), torch.no_grad():
            pnnx.export(without_padding(source.network),
                        str(Path(between, 'model.pt')), inputs=(first, ),
                        inputs2=(second, ), fp16=False)
        for name in files:
            if not Path(between, name).exists():
                raise UserError('pnnx could not convert this model to ncnn')
            shutil.move(Path(between, name), folder / name)
    return files


def _find_flatc() -> None:
    """Show ExecuTorch the compiler that it brings along.

    It looks for it on the PATH, which has it in activated environments only.
    """
    bundled = importlib.resources.files('executorch') / 'data/bin/flatc'
    if bundled.is_file():
        os.environ.setdefault('FLATC_EXECUTABLE', str(bundled))


def write_executorch(source: 'Source', folder: Path) -> list[str]:
    """Write ``model.pte``, for XNNPACK."""
    with quiet_programs():
        exir = need_pinned('executorch.exir')
        xnnpack = need_pinned(
            'executorch.backends.xnnpack.partition.xnnpack_partitioner')
        _find_flatc()
        program = exir.to_edge_transform_and_lower(
            source.make_program(),
            partitioner=[xnnpack.XnnpackPartitioner()],
            # A file's own way to say something: a method that returns it.
            constant_methods={KEY: metadata(source.description)[KEY]},
        ).to_executorch()
        (folder / 'model.pte').write_bytes(program.buffer)
    return ['model.pte']


class NamedOutputs(nn.Module):
    """A network that returns a dict, whose keys LiteRT takes for names."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.network.output_names, self.network(images)))


def write_tflite(source: 'Source', folder: Path) -> list[str]:
    """Write ``model.tflite``, for LiteRT, which was TensorFlow Lite."""
    file = folder / 'model.tflite'
    with quiet_programs(), torch.no_grad():
        litert_torch = need_pinned('litert_torch')
        litert_torch.convert(
            NamedOutputs(source.network),
            sample_kwargs=dict(images=example(source.shape))).export(str(file))
    if source.description.precision == 'int8':
        quantize_tflite(source, file)
    # Runtimes ignore what is behind a model, zip what is before an archive.
    with zipfile.ZipFile(file, 'a') as archive:
        archive.writestr(f'{KEY}.json', metadata(source.description)[KEY])
    return ['model.tflite']


def write_coreml(source: 'Source', folder: Path) -> list[str]:
    """Write ``model.mlpackage``, which only Apple's systems can run."""
    description = source.description
    images = example(source.shape)
    with quiet_programs(), torch.no_grad():
        coremltools = need_pinned('coremltools')
        precision = coremltools.precision
        model = coremltools.convert(
            torch.jit.trace(source.network, images),
            convert_to='mlprogram',
            # Its own default is float16.
            compute_precision=(
                precision.FLOAT16 if description.precision == 'float16'
                else precision.FLOAT32),
            inputs=[coremltools.TensorType(
                name=description.input['name'], shape=images.shape)],
            outputs=[coremltools.TensorType(name=name)
                     for name in source.network.output_names])
        model.short_description = 'Converted, not verified.'
        model.user_defined_metadata.update(metadata(description))
        model.save(str(folder / 'model.mlpackage'))
    return sorted(file.relative_to(folder).as_posix() for file in
                  (folder / 'model.mlpackage').rglob('*') if file.is_file())
