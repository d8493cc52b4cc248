"""Data sets checked before they are used."""
