"""Statistics, errors, advice and a preview of a custom data set."""
