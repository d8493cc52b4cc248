"""Contiguous inputs of a supported data type for mmcv's operators.

Most of them (RoIAlign, deformable convolutions and others, on CPU and GPU)
ignore strides: they silently compute wrong values from channels-last tensors.
None has a kernel for bfloat16: they compute such inputs in float32.
"""
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module

import torch
from torch import Tensor, nn
from torch.autograd import Function

PACKAGE = 'mmcv.ops'
WEIGHT_STANDARDIZATION = 'mmcv.cnn.bricks.conv_ws'


def make_inputs_contiguous() -> None:
    """Patch all operators of mmcv in this process, forward and backward."""
    try:
        import_module(PACKAGE)
    except ImportError:  # mmcv-lite has no operators.
        return
    modules = [module for name, module in list(sys.modules.items())
               if _is_in_package(name)]
    for function in {value for module in modules for value in
                     vars(module).values() if _is_function(value)}:
        for name in ('forward', 'backward'):
            method = vars(function).get(name)
            if method is not None:
                setattr(function, name, staticmethod(
                    _with_contiguous(method.__func__)))


def _is_in_package(module: str) -> bool:
    return f'{module}.'.startswith(f'{PACKAGE}.')


def _is_function(value: object) -> bool:
    return (isinstance(value, type) and issubclass(value, Function)
            and _is_in_package(value.__module__))


def _with_contiguous(method: Callable) -> Callable:

    @wraps(method)
    def method_of_contiguous(ctx, *args, **kwargs):
        given = [*args, *kwargs.values()]
        outputs = method(ctx, *map(_supported, args), **{
            name: _supported(value) for name, value in kwargs.items()})
        return (_in_bfloat16(outputs) if any(map(_is_bfloat16, given)) else
                outputs)

    return method_of_contiguous


def _is_bfloat16(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bfloat16


def _supported(value):
    if not isinstance(value, Tensor):
        return value
    return (value.float() if _is_bfloat16(value) else value).contiguous()


def _in_bfloat16(outputs):
    if isinstance(outputs, tuple):
        return tuple(map(_in_bfloat16, outputs))
    return (outputs.bfloat16() if isinstance(outputs, Tensor)
            and outputs.dtype == torch.float32 else outputs)


def needs_contiguous(module: nn.Module) -> bool:
    """Whether a module computes wrong values from channels-last weights."""
    return any(_is_in_package(kind.__module__) or
               kind.__module__ == WEIGHT_STANDARDIZATION
               for kind in type(module).__mro__)


# On import, so that unpickling a deployed network patches them, too.
make_inputs_contiguous()
