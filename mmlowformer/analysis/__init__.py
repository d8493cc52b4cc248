"""Analyze trainings and trained networks."""
