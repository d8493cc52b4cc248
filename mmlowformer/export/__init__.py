"""Exporting models to other formats, with a numerical verification."""
from ..utils.imports import lazy_names

__getattr__ = lazy_names(__name__, {'.exporter': 'export'})
