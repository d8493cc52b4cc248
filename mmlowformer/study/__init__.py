"""Where multiply-accumulates and time part: the papers' study, repeated."""
