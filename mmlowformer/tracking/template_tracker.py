"""The old name of :mod:`mmlowformer.tracking.tracker`."""
from ..utils.deprecation import old_names
from .tracker import SOTState

__all__ = ['SOTState']

__getattr__ = old_names(__name__, Follower='SOTState')
