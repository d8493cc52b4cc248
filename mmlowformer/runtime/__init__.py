"""Exported models without torch, mmcv and mmengine.

Requires numpy, the runtime of the format, and the library that the model's
test pipeline reads images with: OpenCV or Pillow.
"""
from importlib import import_module
from typing import TYPE_CHECKING

from ..utils.deprecation import warn_renamed

if TYPE_CHECKING:
    from .predictor import ExportedPredictor
    from .results import Classification, Detections, Features, Segmentation

__all__ = ['Classification', 'Detections', 'ExportedPredictor', 'Features',
           'Segmentation']


def __getattr__(name: str):
    if name == 'Predictor':
        warn_renamed(f'{__name__}.{name}', 'ExportedPredictor')
        name = 'ExportedPredictor'
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    # Training imports this package and needs none of these.
    home = '.predictor' if name == 'ExportedPredictor' else '.results'
    return getattr(import_module(home, __name__), name)
