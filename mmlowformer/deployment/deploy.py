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
from ..ops.conv_autotune import MIN_TIMED_CHANNELS, pays_here
from ..ops.conv_heuristics import MIN_CHANNELS
from ..ops.module_utils import replace_modules, to_channels_last
from ..ops.packed_conv import PackedConv2d, forget_packed
from ..ops.winograd_conv import WinogradConv2d
from ..utils.tensors import map_tensors, relative_error, tensors_in
from .bn_folding import fold_batch_norms
from .deployed_part import PartForward
from .tracing import LARGE_NOISE, Call, find_parts, noise_for

DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
# Largest differences that pass, over the largest value. What is wrong differs
# by far more, what is right by far less (rounding, of a random network at
# that).
TOLERANCES = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 3e-1}


# On x86 and ARM.
INSTRUCTIONS = {torch.bfloat16: ('avx512_bf16', 'amx_bf16', 'bf16'),
                torch.float16: ('avx512_fp16', 'amx_fp16', 'fp16_arith')}


def deploy(model: nn.Module, *, compile: bool = False,
           dtype: torch.dtype | str = 'fp32', measure: bool = True,
           example: Tensor | None = None) -> nn.Module:
    """A copy of a model, rewritten for inference.

    For a detector, segmentor or classifier of any OpenMMLab library, with or
    without a LowFormer in it, and for other models that go from images to
    tensors. BatchNorms become part of convolutions, LowFormers are rewritten
    by ``switch_to_deploy``, weights and maps become channels-last, and 3x3
    convolutions go by Winograd's algorithm on a CPU, where that is faster on
    this machine. The outputs stay what they are up to rounding: they are
    compared with those of the model before the copy is returned.

    What a model does beside its network (preparing images, decoding, NMS)
    stays as it is, and is done in float32. The copy is for inference only: it
    cannot be trained, and its state dict is that of a network without
    BatchNorms, so load checkpoints before. The model itself is not changed.

    Args:
        model (nn.Module): The model, in eval mode.
        compile (bool): Whether to compile the network with ``torch.compile``,
            with the first images of each size, of which there may be eight.
            On a CPU, parts that are faster as they are stay so. Defaults to
            False.
        dtype (torch.dtype | str): What the network computes in: ``'fp32'``
            (the default), ``'bf16'`` or ``'fp16'``, or torch's name for it.
        measure (bool): Whether to time convolutions of each kind once, and to
            remember which way was faster (:func:`.choosing.pays_here`).
            Otherwise constants decide, the same on every machine. Defaults to
            True.
        example (Tensor, optional): Images as they go into the network,
            ``(N, C, H, W)``, to compare the outputs for; compiled at once.
            Defaults to noise, 128 pixels high and wide.

    Returns:
        nn.Module: The deployed copy, on the model's device.

    Raises:
        RuntimeError: If the model is in training mode, or the outputs differ.
        UserError: If the model cannot be run on the example, or puts out
            nothing finite for it; the data type is none of these; or the
            weights are not float32.

    Example:
        >>> import mmlowformer
        >>> model = mmlowformer.deploy(model.eval(), compile=True)
    """
    if model.training:
        raise RuntimeError(f'{type(model).__name__} is in training mode; call '
                           'eval() before deploying it.')
    # A copy made in inference mode could not be changed.
    with torch.inference_mode(False):
        alone = copy.deepcopy(model)
    return deploy_in_place(alone, compile=compile, dtype=dtype,
                           measure=measure, example=example)


def deploy_in_place(model: nn.Module, *, compile: bool = False,
                    dtype: torch.dtype | str = 'fp32', measure: bool = True,
                    example: Tensor | None = None) -> nn.Module:
    """What :func:`deploy` does with its copy."""
    check_weights(model)
    device = _device(model)
    dtype = check_dtype(dtype, device)
    # Parameters made in inference mode could not be loaded into afterwards.
    with torch.inference_mode(False), torch.no_grad():
        images, expected = (_noise_and_outputs(model) if example is None else
                            _with_outputs(model, _checked(example).to(device)))
        _rewrite(model, images, measure)
        for name in expected:
            part = model.get_submodule(name).to(dtype)
            vars(part)['forward'] = PartForward(part, dtype)
        _compare(model, expected, TOLERANCES[dtype])
        # It is for maps of the example's size.
        forget_packed(model)
        if compile:
            for forward in deployed_forwards(model).values():
                forward.compile()
            if example is not None:
                _compare(model, expected, TOLERANCES[dtype])
    vars(model)['train'] = partial(_train, model)
    return model


def deployed_forwards(model: nn.Module) -> dict[str, PartForward]:
    """What computes the parts of a deployed model, by their names."""
    forwards = {name: vars(module).get('forward')
                for name, module in model.named_modules()}
    return {name: forward for name, forward in forwards.items()
            if isinstance(forward, PartForward)}


def check_dtype(dtype: torch.dtype | str,
                device: torch.device) -> torch.dtype:
    """Look a data type up, and warn if a CPU only imitates it."""
    named = dtype
    if isinstance(dtype, str):
        dtype = DTYPES.get(dtype, dtype)
    if not isinstance(dtype, torch.dtype) or dtype not in TOLERANCES:
        raise UserError(f'dtype {named} is none that networks are deployed '
                        f'in: {", ".join(DTYPES)}')
    if device.type == 'cpu' and not has_instructions(dtype):
        warnings.warn(
            f'this CPU has no instructions for {dtype}, which is imitated: '
            'slower than float32, for looking at accuracy only', stacklevel=3)
    return dtype


def has_instructions(dtype: torch.dtype) -> bool:
    """Whether this CPU multiplies such numbers itself."""
    if dtype == torch.float32:
        return True
    # torch before 2.10 cannot list them.
    list_them: Callable[[], dict] = getattr(torch.cpu, 'get_capabilities',
                                            dict)
    capabilities = list_them()
    return any(capabilities.get(name) for name in INSTRUCTIONS[dtype])


def _device(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise UserError(f'{type(model).__name__} has no weights: there is '
                        'nothing to deploy')
    return parameter.device


def check_weights(model: nn.Module) -> None:
    """Make sure that weights can be folded and compared."""
    check_changeable(model)
    for name, module in model.named_modules():
        if isinstance(module, OptimizedModule):
            raise UserError(f'{name or "the model"} is compiled: deploy what '
                            'it was made from, with compile=True')
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and weight.dtype != torch.float32:
            raise UserError(
                f'{name} is {weight.dtype}; a model is deployed from float32: '
                "call float() before, and deploy(..., dtype='bf16') or 'fp16' "
                'computes in another type')


def _checked(example: Tensor) -> Tensor:
    """In the type that the weights have, too."""
    if not isinstance(example, Tensor):
        raise UserError('example has to be a tensor of images, (N, C, H, W), '
                        f'not a {type(example).__name__}')
    if (example.is_nested or example.layout != torch.strided
            or not example.numel()):
        raise UserError('example has to be images of one size, at least one, '
                        'in a dense tensor')
    return example.float()


def _noise_and_outputs(model: nn.Module
                       ) -> tuple[Tensor, dict[str, list[Call]]]:
    """Larger noise if a small image is too small for a model's queries."""
    try:
        return _with_outputs(model, noise_for(model))
    except UserError:
        return _with_outputs(model, noise_for(model, LARGE_NOISE))


def _with_outputs(model: nn.Module, images: Tensor
                  ) -> tuple[Tensor, dict[str, list[Call]]]:
    return images, _expected(model, images)


def _expected(model: nn.Module, images: Tensor) -> dict[str, list[Call]]:
    try:
        expected = find_parts(model, images)
    # Whatever a model of somebody raises.
    except Exception as error:
        raise UserError(
            f'{type(model).__name__} cannot be run on images of the shape '
            f'{tuple(images.shape)} ({type(error).__name__}: '
            f'{first_line(error)}); give images that it takes as example, or '
            'deploy a part alone: model.backbone = '
            'mmlowformer.deploy(model.backbone)') \
            from error
    if not expected:
        raise UserError(f'{type(model).__name__} has no part that goes from '
                        'tensors to tensors: there is nothing to deploy')
    for name, calls in expected.items():
        outputs = [output for call in calls for output in
                   tensors_in([call.outputs]) if output.numel()]
        if outputs and not any(map(_has_finite, outputs)):
            raise UserError(f'{name or "the model"} puts out nothing finite, '
                            'so that there is nothing to compare: look for '
                            'NaN in its weights, or in the example')
    return expected


def _has_finite(x: Tensor) -> bool:
    return bool(x.isfinite().any())


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
            module.choose = pays_here


def _switch_to_deploy(model: nn.Module) -> None:
    """Let those rewrite themselves that can, as RepVGG and LowFormer."""
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
        # A comparison that is false for NaN.
        if not error <= tolerance:
            raise RuntimeError(
                f'{name or "the model"} would have other outputs when '
                f'deployed: they differ by {error:.1e} of the largest, more '
                f'than {tolerance:.0e}. Nothing was deployed.')


def _outputs(forward: Callable, name: str, inputs: tuple) -> object:
    try:
        return forward(*map_tensors(Tensor.clone, inputs))
    # Some take views of maps or weights that have to be contiguous.
    except RuntimeError as error:
        raise UserError(
            f'{name or "the model"} cannot be deployed, which lays maps and '
            f'weights out channels-last ({first_line(error)}); deploy another '
            'part alone: model.backbone = mmlowformer.deploy(model.backbone)'
            ) from error


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
            f'A deployed {type(model).__name__} cannot be trained: its '
            'BatchNorms are gone. Train the model that it was made from.')
    return type(model).train(model, False)
