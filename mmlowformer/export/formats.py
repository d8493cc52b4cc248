"""The formats, each with what it can do, what it needs and its writer."""
import difflib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..utils.imports import pinned
from .comparison import EDGE_MAP_ERROR, MAP_ERROR
from .edge import (
    write_coreml,
    write_executorch,
    write_ncnn,
    write_tflite,
)
from .metadata import KEY, metadata
from .program import quiet
from .requirements import (
    FOR_INT8,
    NEEDS,
    UNVERIFIED,
    module_of,
    need_pinned,
)
from .source import Source

OPSET = 18
PRECISIONS = {32: 'float32', 16: 'float16', 8: 'int8'}


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name (str): As the command line has it.
        write (Callable): From a source and a folder to names of files.
        dynamic (bool): Whether sizes can stay open.
        any_batch (bool): Whether the number of images can.
        precisions (tuple[int, ...]): Bits that weights can have.
        boxes (bool): Whether non-maximum suppression can be part of it.
        pads (bool): Whether the file pads images by itself.
        map_error (float): See :func:`.comparing.compare_outputs`.
    """

    name: str
    write: Callable[[Source, Path], list[str]]
    dynamic: bool = True
    any_batch: bool = True
    precisions: tuple[int, ...] = (32, )
    boxes: bool = True
    pads: bool = True
    map_error: float = MAP_ERROR

    @property
    def runs_here(self) -> bool:
        """Whether there is a runtime for this machine."""
        return self.name not in UNVERIFIED

    @property
    def missing(self) -> list[str]:
        """Distributions that are not installed."""
        return _missing(NEEDS[self.name])


def _missing(needs: tuple[str, ...]) -> list[str]:
    return [name for name in needs
            if importlib.util.find_spec(module_of(name)) is None]


def write_onnx(source: Source, folder: Path) -> list[str]:
    """Write ``model.onnx``."""
    write_float32_onnx(source, folder / 'model.onnx')
    if source.description.precision == 'float16':
        _halve(folder / 'model.onnx')
    elif source.description.precision == 'int8':
        from .quantization import quantize_onnx
        quantize_onnx(source, folder / 'model.onnx')
    _stamp_onnx(source, folder / 'model.onnx')
    return ['model.onnx']


def write_float32_onnx(source: Source, file: Path) -> None:
    """Write the ONNX file that the other precisions are made of."""
    with quiet():
        torch.onnx.export(
            source.make_program(), (), str(file), opset_version=OPSET,
            input_names=[source.description.input['name']],
            output_names=source.network.output_names, verbose=False,
            external_data=False)


def _halve(file: Path) -> None:
    """Weights and computations in float16, inputs and outputs as before."""
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
    """The converter casts a value once for each operation that takes it.

    All such casts have the same name and output, which ONNX does not allow.
    """
    seen: set[str] = set()
    repeated = []
    for index, node in enumerate(model.graph.node):
        if node.name and node.name in seen:
            repeated.append(index)
        seen.add(node.name)
    for index in reversed(repeated):
        del model.graph.node[index]


def _stamp_onnx(source: Source, file: Path) -> None:
    """Names of open dimensions, and what ``model.json`` says."""
    onnx = need_pinned('onnx')
    model = onnx.load(str(file))
    described = [(model.graph.input, [source.description.input]),
                 (model.graph.output, source.description.outputs)]
    for values, items in described:
        for value, item in zip(values, items):
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, item['shape']):
                if isinstance(size, str):
                    dim.dim_param = size
    onnx.helper.set_model_props(model, metadata(source.description))
    onnx.save(model, str(file))


def write_openvino(source: Source, folder: Path) -> list[str]:
    """Write ``model.xml`` and ``model.bin``, by way of ONNX for its names."""
    openvino = need_pinned('openvino')
    between = folder / 'between.onnx'
    write_float32_onnx(source, between)
    _stamp_onnx(source, between)
    with quiet():
        model = openvino.convert_model(str(between))
        between.unlink()
        if source.description.precision == 'int8':
            from .quantization import quantize_openvino
            model = quantize_openvino(source, model)
        for key, text in metadata(source.description).items():
            model.set_rt_info(text, [KEY, key] if key != KEY else [
                KEY, 'description'])
        openvino.save_model(
            model, str(folder / 'model.xml'),
            compress_to_fp16=source.description.precision == 'float16')
    return ['model.xml', 'model.bin']


def write_pt2(source: Source, folder: Path) -> list[str]:
    """Write ``model.pt2``, for ``torch.export.load``."""
    with quiet():
        torch.export.save(
            source.make_program(), str(folder / 'model.pt2'),
            extra_files={KEY: metadata(source.description)[KEY]})
    return ['model.pt2']


FORMATS = {item.name: item for item in (
    Format('onnx', write_onnx, precisions=(32, 16, 8)),
    Format('openvino', write_openvino, precisions=(32, 16, 8)),
    Format('pt2', write_pt2),
    Format('ncnn', write_ncnn, any_batch=False, boxes=False, pads=False,
           map_error=EDGE_MAP_ERROR),
    Format('executorch', write_executorch, dynamic=False, any_batch=False,
           boxes=False, map_error=EDGE_MAP_ERROR),
    Format('tflite', write_tflite, dynamic=False, any_batch=False,
           precisions=(32, 8), boxes=False, map_error=EDGE_MAP_ERROR),
    Format('coreml', write_coreml, dynamic=False, any_batch=False,
           precisions=(32, 16), boxes=False),
)}


def find_formats(names: str) -> list[Format]:
    """The formats that a user names."""
    found: dict[str, Format] = {}
    for name in filter(None, map(str.strip, names.lower().split(','))):
        if name not in FORMATS:
            close = difflib.get_close_matches(name, FORMATS, n=1)
            raise UserError(f'--format {name}: there are '
                            f'{", ".join(FORMATS)}' + (
                                f'. Did you mean {close[0]}?' if close
                                else ''))
        found[name] = FORMATS[name]
    if not found:
        raise UserError(f'--format: name some of {", ".join(FORMATS)}')
    return list(found.values())


def check_format(item: Format, bits: int, wishes: dict[str, Any]) -> None:
    """Whether a format can do what is asked for, here."""
    if bits not in item.precisions:
        able = [name for name, other in FORMATS.items()
                if bits in other.precisions]
        raise UserError(f'--quantize {bits} is not for {item.name}, but for '
                        f'{", ".join(able)}')
    for wish, option in (('dynamic', '--dynamic'), ('boxes', '--nms')):
        if wishes[wish] and not getattr(item, wish):
            raise UserError(f'{option} is not for {item.name}')
    missing = item.missing
    if bits == 8:
        missing += _missing(FOR_INT8.get(item.name, ()))
    if missing:
        raise UserError(f'--format {item.name} needs more packages: '
                        f'pip install {pinned(*missing)}')
