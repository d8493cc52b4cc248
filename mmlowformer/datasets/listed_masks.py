"""The old name of :mod:`mmlowformer.datasets.custom_seg_dataset`."""
from ..utils.imports import lazy_names
from .custom_seg_dataset import CustomSegDataset

__all__ = ['CustomSegDataset']

__getattr__ = lazy_names(__name__, ListedMasks='CustomSegDataset')
