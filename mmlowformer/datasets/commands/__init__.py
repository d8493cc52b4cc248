"""Commands of ``tools/data.py``."""
