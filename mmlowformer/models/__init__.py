from ..weights import sources  # registers the loaders
from .lowformer import LowFormer
from .search import find_lowformers

__all__ = ['LowFormer', 'find_lowformers', 'sources']
