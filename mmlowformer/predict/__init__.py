"""Predict boxes, masks and labels of images and videos."""
from ..runtime.results import (
    Classification,
    Detections,
    Result,
    Segmentation,
)
from ..utils.deprecation import old_names
from .predictor import Predictor, StreamItem
from .results import RetrievalResult

__all__ = ['Classification', 'Detections', 'Predictor', 'Result',
           'RetrievalResult', 'Segmentation', 'StreamItem']

__getattr__ = old_names(__name__, Neighbours='RetrievalResult')
