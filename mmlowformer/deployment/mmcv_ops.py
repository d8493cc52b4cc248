"""mmcv's own operators, which take every tensor for a contiguous one.

Most of them (RoIAlign, deformable convolutions and others, on a CPU and on a
GPU) read the memory as it lies, without a look at the strides: of
channels-last maps or weights they compute something else, and do not say so.
"""
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module

from torch import Tensor, nn
from torch.autograd import Function

PACKAGE = 'mmcv.ops'
# Fewer dimensions have no other memory format.
DIMENSIONS = 4


def lay_out_inputs() -> None:
    """Let all operators of mmcv have contiguous maps, in this process.

    Maps that are contiguous already are not copied. Without mmcv's operators
    (mmcv-lite) there is nothing to do.
    """
    try:
        import_module(PACKAGE)
    except ImportError:
        return
    for name, module in list(sys.modules.items()):
        for function in vars(module).values() if _is_in_package(name) else ():
            if (isinstance(function, type) and issubclass(function, Function)
                    and _is_in_package(function.__module__)):
                _lay_out_inputs_of(function)


def _is_in_package(module: str) -> bool:
    return f'{module}.'.startswith(f'{PACKAGE}.')


def _lay_out_inputs_of(function: type[Function]) -> None:
    forward = vars(function).get('forward')
    if forward is None or hasattr(forward.__func__, '__wrapped__'):
        return
    # mypy takes it for a method, but it is a static one.
    function.forward = staticmethod(  # type: ignore[method-assign]
        _with_contiguous_maps(forward.__func__))


def _with_contiguous_maps(forward: Callable) -> Callable:

    @wraps(forward)
    def contiguous_forward(ctx, *args, **kwargs):
        return forward(ctx, *map(_contiguous, args), **{
            name: _contiguous(value) for name, value in kwargs.items()})

    return contiguous_forward


def _contiguous(value):
    if isinstance(value, Tensor) and value.ndim >= DIMENSIONS:
        return value.contiguous()
    return value


def is_operator(module: nn.Module) -> bool:
    """Whether a module computes with an operator of mmcv.

    Args:
        module (nn.Module): The module, of mmcv or derived from one.

    Returns:
        bool: Whether it does.
    """
    return any(_is_in_package(kind.__module__)
               for kind in type(module).__mro__)


# Also where a deployed network is unpickled.
lay_out_inputs()
