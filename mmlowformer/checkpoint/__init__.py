"""Checkpoints: download, fit, convert, resume, and read their configs."""
