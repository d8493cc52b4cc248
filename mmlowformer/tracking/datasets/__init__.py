"""Data sets of videos, and the transforms of their frames."""
