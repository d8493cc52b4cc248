from ..utils import checkpoint_schemes  # registers loaders
from .lowformer import LowFormer
from .model_utils import find_lowformers, unwrap_model

__all__ = ['LowFormer', 'checkpoint_schemes', 'find_lowformers',
           'unwrap_model']
