"""Recipes for speech synthesis."""
