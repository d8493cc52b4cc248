"""Whole models rewritten for inference: backbone, neck and heads."""
import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule

from ..errors import UserError, first_line
from ..models.reparameterize import check_changeable
from ..ops.conv_autotune import (
    MIN_TIMED_CHANNELS,
    use_winograd_by_measurement,
)
from ..ops.conv_heuristics import MIN_CHANNELS
from ..ops.module_utils import replace_modules, to_channels_last
from ..ops.packed_conv import PackedConv2d, clear_packed_weights
from ..ops.winograd_conv import WinogradConv2d
from ..utils.device import has_instructions
from ..utils.tensors import map_tensors, relative_error, tensors_in
from .bn_folding import fold_batch_norms
from .deployed_part import DeployedForward
from .tracing import LARGE_NOISE, Call, find_parts, noise_for

DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
# Allowed differences over the largest value. Wrong outputs differ by far more,
# rounding by far less, even in a random network.
TOLERANCES = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 3e-1}


def deploy(model: nn.Module, *, compile: bool = False,
           dtype: torch.dtype | str = 'fp32', measure: bool = True,
           example: Tensor | None = None) -> nn.Module:
    """Return a copy of a model, rewritten for inference.

    Works for detectors, segmentors and classifiers of any OpenMMLab library,
    with or without a LowFormer, and for other models from images to tensors.
    BatchNorms are folded into convolutions, LowFormers are rewritten by
    ``switch_to_deploy``, weights and feature maps become channels-last, and
    3x3 convolutions on a CPU use Winograd convolution where it is faster on
    this machine. Outputs are equal up to rounding: they are compared with the
    model's before the copy is returned.

    Preprocessing, decoding and NMS stay as they are, in float32. The copy
    cannot be trained, and its state dict has no BatchNorms, so load
    checkpoints before deploying. The model itself does not change.

    Args:
        model (nn.Module): The model, in eval mode.
        compile (bool): Whether to compile the network with ``torch.compile``
            for the first eight image sizes. On a CPU, parts that are faster
            uncompiled stay so. Defaults to False.
        dtype (torch.dtype | str): Data type of the network: ``'fp32'``,
            ``'bf16'``, ``'fp16'`` or torch's dtype. Defaults to ``'fp32'``.
        measure (bool): Whether to time each kind of convolution once and cache
            which algorithm was faster
            (:func:`.conv_autotune.use_winograd_by_measurement`). Otherwise
            fixed thresholds decide. Defaults to True.
        example (Tensor, optional): Images ``(N, C, H, W)`` as the network
            takes them, to compare outputs on and, with ``compile``, to compile
            for. Defaults to noise of 128x128 pixels.

    Returns:
        nn.Module: The deployed copy, on the model's device.

    Raises:
        RuntimeError: If the model is in training mode, or the outputs differ.
        UserError: If the model cannot be run on the example or returns nothing
            finite for it, the data type is not supported, or the weights are
            not float32.

    Example:
        >>> import mmlowformer
        >>> model = mmlowformer.deploy(model.eval(), compile=True)
    """
    if model.training:
        raise RuntimeError(f'{type(model).__name__} is in training mode: call '
                           'eval() before deploying it')
    # A copy made in inference mode could not be changed.
    with torch.inference_mode(False):
        deployed = copy.deepcopy(model)
    return deploy_in_place(deployed, compile=compile, dtype=dtype,
                           measure=measure, example=example)


def deploy_in_place(model: nn.Module, *, compile: bool = False,
                    dtype: torch.dtype | str = 'fp32', measure: bool = True,
                    example: Tensor | None = None) -> nn.Module:
    """Rewrite the model itself as :func:`deploy` rewrites its copy."""
    check_weights(model)
    device = next(model.parameters()).device
    dtype = check_dtype(dtype, device)
    # Parameters made in inference mode could not be loaded into afterwards.
    with torch.inference_mode(False), torch.no_grad():
        images = (noise_for(model) if example is None else
                  _checked(example).to(device))
        try:
            expected = _expected(model, images)
        except UserError:
            if example is not None:
                raise
            # A model with many queries needs a larger image.
            images = noise_for(model, LARGE_NOISE)
            expected = _expected(model, images)
        _rewrite(model, images, measure)
        for name in expected:
            part = model.get_submodule(name).to(dtype)
            vars(part)['forward'] = DeployedForward(part, dtype)
        _compare(model, expected, TOLERANCES[dtype])
        # Weights are packed for maps of the example's size.
        clear_packed_weights(model)
        if compile:
            for forward in deployed_forwards(model).values():
                forward.compile()
            if example is not None:
                _compare(model, expected, TOLERANCES[dtype])
    vars(model)['train'] = partial(_train, model)
    return model


def deployed_forwards(model: nn.Module) -> dict[str, DeployedForward]:
    """The forward functions of a deployed model's parts, by their names."""
    forwards = {name: vars(module).get('forward')
                for name, module in model.named_modules()}
    return {name: forward for name, forward in forwards.items()
            if isinstance(forward, DeployedForward)}


def check_dtype(dtype: torch.dtype | str,
                device: torch.device) -> torch.dtype:
    """Look up a data type, and warn if the CPU only emulates it."""
    found = DTYPES.get(dtype, dtype) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or found not in TOLERANCES:
        raise UserError(f'dtype {dtype} is not supported: choose one of '
                        f'{", ".join(DTYPES)}')
    if device.type == 'cpu' and not has_instructions(found):
        warnings.warn(
            f'this CPU has no instructions for {found} and emulates it: '
            'slower than float32, use it only to check accuracy',
            stacklevel=3)
    return found


def check_weights(model: nn.Module) -> None:
    """Make sure that weights can be folded and compared."""
    if next(model.parameters(), None) is None:
        raise UserError(f'{type(model).__name__} has no weights to deploy')
    check_changeable(model)
    for name, module in model.named_modules():
        if isinstance(module, OptimizedModule):
            raise UserError(f'{name or "the model"} is compiled: deploy the '
                            'original with compile=True')
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and weight.dtype != torch.float32:
            raise UserError(
                f'{name} is {weight.dtype}, and has to be float32: call '
                "float() before deploying, and use deploy(..., dtype='bf16') "
                "or 'fp16'")


def _checked(example: Tensor) -> Tensor:
    """The example in the data type of the weights."""
    if not isinstance(example, Tensor):
        raise UserError('example has to be a tensor of images (N, C, H, W), '
                        f'not a {type(example).__name__}')
    if (example.is_nested or example.layout != torch.strided
            or not example.numel()):
        raise UserError('example has to be a dense tensor of at least one '
                        'image, all of one size')
    return example.float()


def _expected(model: nn.Module, images: Tensor) -> dict[str, list[Call]]:
    """The calls of the model's parts, with the outputs to reproduce."""
    try:
        expected = find_parts(model, images)
    # A model may raise anything.
    except Exception as error:
        raise UserError(
            f'{type(model).__name__} fails on images of the shape '
            f'{tuple(images.shape)} ({type(error).__name__}: '
            f'{first_line(error)}); pass suitable images as example, or '
            'deploy a part alone: model.backbone = '
            'mmlowformer.deploy(model.backbone)') \
            from error
    if not expected:
        raise UserError(f'{type(model).__name__} has no part from tensors to '
                        'tensors, so there is nothing to deploy')
    for name, calls in expected.items():
        outputs = [output for call in calls for output in
                   tensors_in([call.outputs]) if output.numel()]
        if outputs and not any(x.isfinite().any() for x in outputs):
            raise UserError(f'{name or "the model"} returns no finite values '
                            'to compare: look for NaN in its weights or in '
                            'the example')
    return expected


def _rewrite(model: nn.Module, images: Tensor, measure: bool) -> None:
    _switch_to_deploy(model)
    fold_batch_norms(model, images)
    to_channels_last(model)
    least = MIN_TIMED_CHANNELS if measure else MIN_CHANNELS
    replace_modules(
        model, partial(WinogradConv2d.can_replace, min_channels=least),
        WinogradConv2d)
    replace_modules(model, PackedConv2d.can_replace, PackedConv2d)
    for module in model.modules():
        if isinstance(module, WinogradConv2d) and measure:
            module.choose = use_winograd_by_measurement


def _switch_to_deploy(model: nn.Module) -> None:
    """Call it on modules that have it, such as LowFormer and RepVGG."""
    for child in model.children():
        _switch_to_deploy(child)
    if hasattr(model, 'switch_to_deploy'):
        cast(Callable, model.switch_to_deploy)()


def _compare(model: nn.Module, expected: dict[str, list[Call]],
             tolerance: float) -> None:
    for name, calls in expected.items():
        forward = model.get_submodule(name).forward
        error = _largest_error(
            [_outputs(forward, name, call.inputs) for call in calls],
            [call.outputs for call in calls])
        # Written so that NaN fails, too.
        if not error <= tolerance:
            raise RuntimeError(
                f'{name or "the model"} would have other outputs when '
                f'deployed (relative error {error:.1e}, allowed '
                f'{tolerance:.0e}); nothing was deployed')


def _outputs(forward: Callable, name: str, inputs: tuple) -> object:
    try:
        return forward(*map_tensors(Tensor.clone, inputs))
    # Some modules take views that need contiguous maps or weights.
    except RuntimeError as error:
        raise UserError(
            f'{name or "the model"} cannot be deployed with channels-last '
            f'maps ({first_line(error)}); deploy another part alone: '
            'model.backbone = mmlowformer.deploy(model.backbone)') from error


def _largest_error(outputs, targets) -> float:
    pairs = zip(tensors_in(outputs), tensors_in(targets), strict=True)
    return max([0., *(relative_error(*_without_masks(*pair))
                      for pair in pairs)])


def _without_masks(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Remove infinities and NaN that both have, as masks do."""
    alike = ~target.isfinite() & (
        (output == target) | (output.isnan() & target.isnan()))
    return output.masked_fill(alike, 0), target.masked_fill(alike, 0)


def _train(model: nn.Module, mode: bool = True) -> nn.Module:
    if mode:
        raise RuntimeError(
            f'A deployed {type(model).__name__} has no BatchNorms and cannot '
            'be trained: train the original model')
    return type(model).train(model, False)
