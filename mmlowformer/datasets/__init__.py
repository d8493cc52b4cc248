"""Data sets: checked before use, and generated."""
