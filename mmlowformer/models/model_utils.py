"""Finding LowFormers in larger models."""
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from .lowformer import LowFormer


def find_lowformers(model: nn.Module) -> dict[str, LowFormer]:
    """The LowFormers in a model."""
    return {f'{name}.' if name else '': module
            for name, module in model.named_modules()
            if isinstance(module, LowFormer)}


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model itself."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.get_submodule('module')
    return model
