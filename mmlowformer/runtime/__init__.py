"""Exported models without torch, mmcv and mmengine.

Needed are numpy, OpenCV or Pillow (whichever the images of the model were
prepared with) and the runtime of the format.
"""
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .predictor import Predictor
    from .results import Classification, Detections, Features, Segmentation

__all__ = ['Classification', 'Detections', 'Features', 'Predictor',
           'Segmentation']


def __getattr__(name: str):
    # Training asks what an export is, and needs none of these.
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = '.predictor' if name == 'Predictor' else '.results'
    return getattr(import_module(module, __name__), name)
