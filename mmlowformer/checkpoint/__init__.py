"""Weights: their layouts, reading them safely, fitting and converting."""
