from ..utils import checkpoint_schemes  # registers loaders
from .lowformer import LowFormer
from .model_utils import bare, find_lowformers

__all__ = ['LowFormer', 'bare', 'checkpoint_schemes', 'find_lowformers']
