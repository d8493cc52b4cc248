"""Measuring the speed of backbones, so that the numbers can be trusted."""
