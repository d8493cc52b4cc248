"""Configs: found, read, and errors of building them explained."""
