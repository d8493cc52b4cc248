"""Convolutions of deployed networks: packed, Winograd, in chunks."""
