"""Pictures of predictions and of confusions."""
