"""Following one object through a video."""
