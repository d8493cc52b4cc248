"""Shared helpers: files, console, timing, safe loading."""
