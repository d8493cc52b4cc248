"""The old name of :mod:`mmlowformer.tracking.tracker`."""
from ..utils.imports import lazy_names
from .tracker import SOTState

__all__ = ['SOTState']

__getattr__ = lazy_names(__name__, Follower='SOTState')
