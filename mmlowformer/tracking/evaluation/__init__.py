"""Metrics, visualizations and submissions of tracking tests."""
