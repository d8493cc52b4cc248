"""Networks rewritten for inference, with the same outputs."""
