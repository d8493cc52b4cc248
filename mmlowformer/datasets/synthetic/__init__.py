"""Generated data sets of colored shapes."""
