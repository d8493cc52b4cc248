"""Exported models without torch, mmcv and mmengine.

Requires numpy, the runtime of the format, and the library that the model's
test pipeline reads images with: OpenCV or Pillow.
"""
from ..utils.imports import lazy_names

__getattr__ = lazy_names(
    __name__, {'.predictor': 'ExportedPredictor',
               '.results': 'Classification Detections Features Segmentation'},
    Predictor='ExportedPredictor')
