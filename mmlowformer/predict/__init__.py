"""From images to boxes, masks or labels."""
from .predictor import Predictor
from .results import (
    Classification,
    Detections,
    Neighbours,
    Result,
    Segmentation,
)

__all__ = ['Classification', 'Detections', 'Neighbours', 'Predictor', 'Result',
           'Segmentation']
