"""Writers of formats for phones and small boards."""
import copy
import importlib.resources
import os
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UserError
from .job import KEY, ExportJob, export_program, quiet_programs
from .preprocessing import Preparation
from .quantization import quantize_tflite
from .requirements import need_pinned
from .wrappers import ExportWrapper


def without_padding(model: ExportWrapper) -> ExportWrapper:
    """A copy that leaves the padding to the runtime."""
    other = copy.copy(model)
    other._modules = dict(model._modules)
    other.preparation = Preparation(replace(model.rule, divisor=1))
    return other


def write_ncnn(job: ExportJob, folder: Path) -> list[str]:
    """Write ``model.ncnn.param`` and ``model.ncnn.bin`` with pnnx."""
    pnnx = need_pinned('pnnx')
    height, width = job.shape.size
    # With a single size, pnnx would make all sizes constants.
    first, second = (torch.full((1, 3, *size), 127.) for size in (
        (height, width), (height + 64, width + 32)))
    files = ['model.ncnn.param', 'model.ncnn.bin']
    with tempfile.TemporaryDirectory() as scratch:
        with quiet_programs(), torch.no_grad():
            pnnx.export(without_padding(job.model),
                        str(Path(scratch, 'model.pt')), inputs=(first, ),
                        inputs2=(second, ), fp16=False)
        for name in files:
            if not Path(scratch, name).exists():
                raise UserError('pnnx could not convert this model to ncnn')
            shutil.move(Path(scratch, name), folder / name)
    return files


def write_executorch(job: ExportJob, folder: Path) -> list[str]:
    """Write ``model.pte``, for XNNPACK."""
    with quiet_programs():
        exir = need_pinned('executorch.exir')
        xnnpack = need_pinned(
            'executorch.backends.xnnpack.partition.xnnpack_partitioner')
        # ExecuTorch looks for its own compiler on the PATH, which has it in
        # activated environments only.
        flatc = importlib.resources.files('executorch') / 'data/bin/flatc'
        if flatc.is_file():
            os.environ.setdefault('FLATC_EXECUTABLE', str(flatc))
        program = exir.to_edge_transform_and_lower(
            export_program(job.model, job.shape),
            partitioner=[xnnpack.XnnpackPartitioner()],
            # The format's metadata: a method that returns them.
            constant_methods={KEY: job.metadata[KEY]},
        ).to_executorch()
        (folder / 'model.pte').write_bytes(program.buffer)
    return ['model.pte']


class NamedOutputs(nn.Module):
    """Returns a dict, whose keys LiteRT takes as names of the outputs."""

    def __init__(self, model: ExportWrapper):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.model.output_names, self.model(images)))


def write_tflite(job: ExportJob, folder: Path) -> list[str]:
    """Write ``model.tflite``, for LiteRT (formerly TensorFlow Lite)."""
    file = folder / 'model.tflite'
    with quiet_programs(), torch.no_grad():
        litert_torch = need_pinned('litert_torch')
        litert_torch.convert(
            NamedOutputs(job.model),
            sample_kwargs=dict(images=job.shape.example())).export(str(file))
    if job.description.precision == 'int8':
        quantize_tflite(job, file)
    # Runtimes ignore data after the model, zip ignores data before an archive.
    with zipfile.ZipFile(file, 'a') as archive:
        archive.writestr(f'{KEY}.json', job.metadata[KEY])
    return ['model.tflite']


def write_coreml(job: ExportJob, folder: Path) -> list[str]:
    """Write ``model.mlpackage``, which only Apple's systems can run."""
    images = job.shape.example()
    with quiet_programs(), torch.no_grad():
        coremltools = need_pinned('coremltools')
        # Core ML's own default is float16.
        precision = (coremltools.precision.FLOAT16
                     if job.description.precision == 'float16' else
                     coremltools.precision.FLOAT32)
        model = coremltools.convert(
            torch.jit.trace(job.model, images),
            convert_to='mlprogram', compute_precision=precision,
            inputs=[coremltools.TensorType(
                name=job.description.input['name'], shape=images.shape)],
            outputs=[coremltools.TensorType(name=name)
                     for name in job.model.output_names])
        model.short_description = 'Converted, not verified.'
        model.user_defined_metadata.update(job.metadata)
        model.save(str(folder / 'model.mlpackage'))
    return sorted(file.relative_to(folder).as_posix() for file in
                  (folder / 'model.mlpackage').rglob('*') if file.is_file())
