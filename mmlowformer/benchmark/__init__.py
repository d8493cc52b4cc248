"""Benchmark backbones and whole models side by side."""
from ..utils.imports import lazy_names

__getattr__ = lazy_names(__name__, {'.run': 'benchmark'})
