"""Recipes: one file per model and mode, found by path; each names steps and knows no transport."""
