"""The old name of datasets/, for configs that users have copied."""
