"""Predictions as labels: which images to correct, and in which tool."""
