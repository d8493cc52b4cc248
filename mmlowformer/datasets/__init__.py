"""Custom, checked and generated data sets."""
