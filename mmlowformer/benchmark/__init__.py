"""Benchmark backbones and whole models side by side."""
