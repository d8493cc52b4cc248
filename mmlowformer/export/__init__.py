"""Exported models: written, and never called so before they are verified."""
