"""Whisper, for languages it already knows."""
