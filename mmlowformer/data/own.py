"""The old name of :mod:`mmlowformer.datasets.custom_config`.

Copies of ``*_custom.py`` import it.
"""
import warnings

from ..datasets.custom_config import custom_classification as own_folders
from ..datasets.custom_config import custom_detection as own_boxes
from ..datasets.custom_config import custom_segmentation as own_masks

__all__ = ['own_boxes', 'own_folders', 'own_masks']

warnings.warn('mmlowformer.data.own is called mmlowformer.datasets.'
              'custom_config now; the old name works until the next release',
              FutureWarning, stacklevel=2)
