"""Weights and activations of 8 bits, calibrated on training images."""
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from .job import ExportJob, quiet, quiet_programs
from .requirements import need_pinned

CPU_FLAGS = Path('/proc/cpuinfo')
# Instructions that sum 8-bit products in 32 bits. Others sum two at a time in
# 16 bits, which may overflow.
DOT_PRODUCTS = ('vnni', 'asimddp')
# LiteRT's default name of a function.
SIGNATURE = 'serving_default'


def sums_are_exact() -> bool:
    """Whether this CPU sums 8-bit products without overflow."""
    try:
        text = CPU_FLAGS.read_text()
    except OSError:
        return False
    return any(name in text for name in DOT_PRODUCTS)


def quantize_onnx(job: ExportJob, file: Path) -> None:
    """Quantize convolutions and linear layers per channel, in QDQ format.

    Products of two activations, as in attention, stay in float32.
    """
    quantization = need_pinned('onnxruntime.quantization')
    shape_inference = need_pinned(
        'onnxruntime.quantization.shape_inference')
    prepared = file.with_name('prepared.onnx')
    name = job.description.input['name']
    images = ({name: image} for image in job.calibration())
    with quiet():
        shape_inference.quant_pre_process(
            str(file), str(prepared), skip_symbolic_shape=True)
        try:
            quantization.quantize_static(
                str(prepared), str(file),
                SimpleNamespace(get_next=lambda: next(images, None)),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=['Conv', 'ConvTranspose', 'Gemm'],
                per_channel=True, reduce_range=not sums_are_exact(),
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8)
        finally:
            prepared.unlink()


def quantize_openvino(job: ExportJob, model: Any) -> Any:
    """Quantize with NNCF, which fuses into OpenVINO's own kernels.

    As a transformer: activations have a zero point; sums, norms and attention
    stay in float32, and so does NNCF's own exception, box decoding. Bias
    correction is off: it compares the mean of a feature map with that of a
    constant one, which is wrong where much of the map lies beside padding, as
    in the last stages. Ranges cover the values of all images: NNCF's default,
    means over the images, cuts off values that decide classifications.
    """
    nncf = need_pinned('nncf')
    estimators = need_pinned('nncf.quantization.range_estimator')
    images = list(job.calibration())
    with quiet():
        return nncf.quantize(
            model, nncf.Dataset(images), subset_size=len(images),
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                disable_bias_correction=True,
                activations_range_estimator_params=(
                    estimators.RangeEstimatorParametersSet.MINMAX)))


def quantize_tflite(job: ExportJob, file: Path) -> None:
    """Quantize convolutions and linear layers per channel."""
    library = need_pinned('ai_edge_quantizer.quantizer')
    name = job.description.input['name']
    # A list, as the quantizer counts them first.
    images = [{name: image} for image in job.calibration()]
    with quiet_programs():
        quantizer = library.Quantizer(str(file))
        for operation in ('CONV_2D', 'DEPTHWISE_CONV_2D',
                          'CONV_2D_TRANSPOSE', 'FULLY_CONNECTED'):
            quantizer.add_static_config(
                '.*', operation, activation_num_bits=8, weight_num_bits=8)
        ranges = quantizer.calibrate({SIGNATURE: images},
                                     num_threads=torch.get_num_threads())
        quantizer.quantize(ranges).export_model(str(file), overwrite=True)
