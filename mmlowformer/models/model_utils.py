"""Finding LowFormers in larger models."""
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from .lowformer import LowFormer


def find_lowformers(model: nn.Module) -> dict[str, LowFormer]:
    """The LowFormers in a model.

    Args:
        model (nn.Module): The model, which may be one itself.

    Returns:
        dict[str, LowFormer]: By the prefix of their tensors in the model's
        state dict, like ``'backbone.'``, or ``''`` for the model itself.
    """
    return {f'{name}.' if name else '': module
            for name, module in model.named_modules()
            if isinstance(module, LowFormer)}


def bare(model: nn.Module) -> nn.Module:
    """The model itself.

    Args:
        model (nn.Module): Possibly wrapped, for distributed training or
            test-time augmentation.

    Returns:
        nn.Module: What is inside.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    return model
