"""Weights and activations of 8 bits, by images of the training."""
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import UserError
from .program import quiet, quiet_programs
from .requirements import need_pinned

if TYPE_CHECKING:
    from .source import Source

CPU_FACTS = Path('/proc/cpuinfo')
# With them products of 8 bits are summed up in 32; without, two at a time in
# 16, which may overflow.
DOT_PRODUCTS = ('vnni', 'asimddp')
# What LiteRT calls a function, if nothing else is said.
SIGNATURE = 'serving_default'


def sums_are_exact() -> bool:
    """Whether this processor sums products of 8 bits without overflow."""
    try:
        text = CPU_FACTS.read_text()
    except OSError:
        return False
    return any(name in text for name in DOT_PRODUCTS)


class _Images:
    """What ONNX Runtime calibrates with."""

    def __init__(self, images: Iterator[np.ndarray], name: str):
        self._images, self._name = images, name

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next image, as the input."""
        image = next(self._images, None)
        return None if image is None else {self._name: image}


def _calibration(source: 'Source') -> Iterator[np.ndarray]:
    if source.calibration is None:
        raise UserError('8 bits need images to calibrate with')
    return source.calibration()


def quantize_onnx(source: 'Source', file: Path) -> None:
    """Quantize convolutions and linear layers, in the QDQ format.

    Channel by channel. Products of two maps, as in attention, stay in
    float32.
    """
    quantization = need_pinned('onnxruntime.quantization')
    shape_inference = need_pinned(
        'onnxruntime.quantization.shape_inference')
    prepared = file.with_name('prepared.onnx')
    with quiet():
        shape_inference.quant_pre_process(
            str(file), str(prepared), skip_symbolic_shape=True)
        try:
            quantization.quantize_static(
                str(prepared), str(file),
                _Images(_calibration(source),
                        source.description.input['name']),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=['Conv', 'ConvTranspose', 'Gemm'],
                per_channel=True, reduce_range=not sums_are_exact(),
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8)
        finally:
            prepared.unlink()


def quantize_openvino(source: 'Source', model: Any) -> Any:
    """Quantize with NNCF, which fuses into OpenVINO's own kernels.

    As a transformer: activations have a zero point, and sums, norms and
    attention stay in float32. Biases are not corrected: NNCF compares the
    means of a map with those of a constant one, which is off where a large
    share of the map lies beside padding, as in the last stages. Ranges reach
    from the least to the largest value of all images: NNCF's own, means over
    the images, cut off what a classifier decides by. What decodes boxes NNCF
    leaves alone by itself.
    """
    nncf = need_pinned('nncf')
    estimators = need_pinned('nncf.quantization.range_estimator')
    images = list(_calibration(source))
    with quiet():
        return nncf.quantize(
            model, nncf.Dataset(images), subset_size=len(images),
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                disable_bias_correction=True,
                activations_range_estimator_params=(
                    estimators.RangeEstimatorParametersSet.MINMAX)))


def quantize_tflite(source: 'Source', file: Path) -> None:
    """Quantize convolutions and linear layers, channel by channel."""
    library = need_pinned('ai_edge_quantizer.quantizer')
    name = source.description.input['name']
    # They are counted first, which uses an iterator up.
    images = [{name: image} for image in _calibration(source)]
    with quiet_programs():
        quantizer = library.Quantizer(str(file))
        for operation in ('CONV_2D', 'DEPTHWISE_CONV_2D',
                          'CONV_2D_TRANSPOSE', 'FULLY_CONNECTED'):
            quantizer.add_static_config(
                '.*', operation, activation_num_bits=8, weight_num_bits=8)
        ranges = quantizer.calibrate({SIGNATURE: images},
                                     num_threads=torch.get_num_threads())
        quantizer.quantize(ranges).export_model(str(file), overwrite=True)
