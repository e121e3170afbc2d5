"""Recipes for recognition jobs."""
