from ..utils import checkpoint_schemes  # registers loaders
from .lowformer import LowFormer, find_lowformers, unwrap_model

__all__ = ['LowFormer', 'checkpoint_schemes', 'find_lowformers',
           'unwrap_model']
