"""Recipes for Wav2Vec2-BERT: train a recogniser for the project, transcribe with it."""
