"""Rewriting networks for inference, with the same outputs."""
