"""What a run tells: a display, figures, metrics, and a notice at the end."""
