from . import sources  # registers the loaders
from .lowformer import LowFormer

__all__ = ['LowFormer', 'sources']
