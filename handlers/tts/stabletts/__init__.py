"""Recipes for StableTTS: train a voice for the project, speak its verses with it."""
