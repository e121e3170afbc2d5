"""Recipes for Whisper."""
