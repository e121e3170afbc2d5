"""Speech recognition: one package per model family."""
