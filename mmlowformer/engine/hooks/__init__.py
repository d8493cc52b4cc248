"""Hooks of MMEngine's Runner."""
