"""Predict boxes, masks and labels of images and videos."""
from ..runtime.results import (
    Classification,
    Detections,
    Result,
    Segmentation,
)
from ..utils.imports import lazy_names
from .arguments import (
    add_model_arguments,
    add_trust_argument,
    build_predictor,
)
from .file_names import short_names, video_names
from .inputs import Inputs, collect_inputs
from .predictor import Predictor, StreamItem
from .results import RetrievalResult
from .trained_model import load_model
from .video import VideoReader
from .writer import CocoIdMapper, Writer, output_folder

__all__ = ['Classification', 'CocoIdMapper', 'Detections', 'Inputs',
           'Predictor', 'Result', 'RetrievalResult', 'Segmentation',
           'StreamItem', 'VideoReader', 'Writer', 'add_model_arguments',
           'add_trust_argument', 'build_predictor', 'collect_inputs',
           'load_model', 'output_folder', 'short_names', 'video_names']

__getattr__ = lazy_names(__name__, Neighbours='RetrievalResult')
