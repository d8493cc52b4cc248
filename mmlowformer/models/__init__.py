from ..utils import checkpoint_schemes as sources  # registers the loaders
from .lowformer import LowFormer
from .model_utils import bare, find_lowformers

__all__ = ['LowFormer', 'bare', 'find_lowformers', 'sources']
