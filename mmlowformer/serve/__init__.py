"""A page in the browser that shows what a model finds in a photo."""
from .limits import Limits

__all__ = ['Limits']
