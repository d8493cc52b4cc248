"""What several folders use: files, console, timing, safe reading."""
