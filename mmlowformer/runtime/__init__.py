"""Exported models without torch, mmcv and mmengine.

Needed are numpy, OpenCV or Pillow (whichever the images of the model were
prepared with) and the runtime of the format.
"""
from .predictor import Predictor
from .results import Classification, Detections, Features, Segmentation

__all__ = ['Classification', 'Detections', 'Features', 'Predictor',
           'Segmentation']
