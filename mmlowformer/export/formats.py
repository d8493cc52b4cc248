"""The export formats: what each supports, and its writer."""
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..config.build_errors import similar
from ..errors import UserError
from ..utils.imports import pinned
from .comparison import EDGE_MAP_ERROR, MAP_ERROR
from .edge import (
    write_coreml,
    write_executorch,
    write_ncnn,
    write_tflite,
)
from .job import KEY, ExportJob, export_program, quiet
from .quantization import quantize_onnx, quantize_openvino
from .requirements import (
    INT8_PACKAGES,
    NOT_RUNNABLE,
    PACKAGES,
    module_of,
    need_pinned,
)

OPSET = 18
PRECISIONS = {32: 'float32', 16: 'float16', 8: 'int8'}


@dataclass(frozen=True)
class Format:
    """An export format and what it supports."""

    name: str
    # From a job and a folder to the names of the files.
    write: Callable[[ExportJob, Path], list[str]]
    dynamic: bool = True
    any_batch: bool = True
    # Bits of the weights.
    precisions: tuple[int, ...] = (32, )
    nms: bool = True
    # Whether the file pads images, or the runtime.
    pads: bool = True
    # See comparison.compare_outputs.
    map_error: float = MAP_ERROR

    @property
    def runs_here(self) -> bool:
        """Whether this machine can run the format."""
        return self.name not in NOT_RUNNABLE


def write_onnx(job: ExportJob, folder: Path) -> list[str]:
    """Write ``model.onnx``."""
    file = folder / 'model.onnx'
    write_float32_onnx(job, file)
    if job.description.precision == 'float16':
        _convert_to_float16(file)
    elif job.description.precision == 'int8':
        quantize_onnx(job, file)
    _add_onnx_metadata(job, file)
    return ['model.onnx']


def write_float32_onnx(job: ExportJob, file: Path) -> None:
    """Write the ONNX file that the other precisions are made of."""
    with quiet():
        torch.onnx.export(
            # A program with NMS cannot be written as ONNX twice.
            export_program(job.model, job.shape), (), str(file),
            opset_version=OPSET, external_data=False, verbose=False,
            input_names=[job.description.input['name']],
            output_names=job.model.output_names)


def _convert_to_float16(file: Path) -> None:
    """Convert weights and computations; inputs and outputs stay float32."""
    onnx = need_pinned('onnx')
    float16 = need_pinned('onnxruntime.transformers.float16')
    with quiet():
        model = float16.convert_float_to_float16(
            onnx.load(str(file)), keep_io_types=True,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, 'TopK',
                           'NonMaxSuppression'])
        _drop_repeated_casts(model)
        onnx.save(model, str(file))


def _drop_repeated_casts(model: Any) -> None:
    """Remove casts of the same name, which ONNX does not allow.

    The converter adds one for each operation that takes the value.
    """
    seen: set[str] = set()
    repeated = []
    for index, node in enumerate(model.graph.node):
        if node.name and node.name in seen:
            repeated.append(index)
        seen.add(node.name)
    for index in reversed(repeated):
        del model.graph.node[index]


def _add_onnx_metadata(job: ExportJob, file: Path) -> None:
    """Add the description and the names of dynamic dimensions."""
    onnx = need_pinned('onnx')
    model = onnx.load(str(file))
    described = [(model.graph.input, [job.description.input]),
                 (model.graph.output, job.description.outputs)]
    for values, items in described:
        for value, item in zip(values, items):
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, item['shape']):
                if isinstance(size, str):
                    dim.dim_param = size
    onnx.helper.set_model_props(model, job.metadata)
    onnx.save(model, str(file))


def write_openvino(job: ExportJob, folder: Path) -> list[str]:
    """Write ``model.xml`` and ``model.bin`` by way of ONNX."""
    openvino = need_pinned('openvino')
    onnx_file = folder / 'temporary.onnx'
    write_float32_onnx(job, onnx_file)
    _add_onnx_metadata(job, onnx_file)
    with quiet():
        model = openvino.convert_model(str(onnx_file))
        onnx_file.unlink()
        if job.description.precision == 'int8':
            model = quantize_openvino(job, model)
        for key, text in job.metadata.items():
            model.set_rt_info(
                text, [KEY, 'description' if key == KEY else key])
        openvino.save_model(
            model, str(folder / 'model.xml'),
            compress_to_fp16=job.description.precision == 'float16')
    return ['model.xml', 'model.bin']


def write_pt2(job: ExportJob, folder: Path) -> list[str]:
    """Write ``model.pt2``, for ``torch.export.load``."""
    with quiet():
        torch.export.save(
            export_program(job.model, job.shape), str(folder / 'model.pt2'),
            extra_files={KEY: job.metadata[KEY]})
    return ['model.pt2']


FORMATS = {item.name: item for item in (
    Format('onnx', write_onnx, precisions=(32, 16, 8)),
    Format('openvino', write_openvino, precisions=(32, 16, 8)),
    Format('pt2', write_pt2),
    Format('ncnn', write_ncnn, any_batch=False, nms=False, pads=False,
           map_error=EDGE_MAP_ERROR),
    Format('executorch', write_executorch, dynamic=False, any_batch=False,
           nms=False, map_error=EDGE_MAP_ERROR),
    Format('tflite', write_tflite, dynamic=False, any_batch=False,
           precisions=(32, 8), nms=False, map_error=EDGE_MAP_ERROR),
    Format('coreml', write_coreml, dynamic=False, any_batch=False,
           precisions=(32, 16), nms=False),
)}


def find_formats(names: str) -> list[Format]:
    """Look up names that are separated by commas."""
    found: dict[str, Format] = {}
    for name in filter(None, map(str.strip, names.lower().split(','))):
        if name not in FORMATS:
            raise UserError(f'--format {name}: choose from '
                            f'{", ".join(FORMATS)}{similar(name, FORMATS)}')
        found[name] = FORMATS[name]
    if not found:
        raise UserError(f'--format: name some of {", ".join(FORMATS)}')
    return list(found.values())


def check_format(item: Format, bits: int, *, dynamic: bool, nms: bool) -> None:
    """Make sure that a format supports what is required, here."""
    if bits not in item.precisions:
        able = [name for name, other in FORMATS.items()
                if bits in other.precisions]
        raise UserError(f'--quantize {bits} is not for {item.name}, but for '
                        f'{", ".join(able)}')
    for required, supported, option in (
            (dynamic, item.dynamic, '--dynamic'), (nms, item.nms, '--nms')):
        if required and not supported:
            raise UserError(f'{option} is not for {item.name}')
    packages = PACKAGES[item.name]
    if bits == 8:
        packages += INT8_PACKAGES.get(item.name, ())
    missing = [package for package in packages
               if importlib.util.find_spec(module_of(package)) is None]
    if missing:
        raise UserError(f'--format {item.name} needs more packages: '
                        f'pip install {pinned(*missing)}')
