"""Wav2Vec2-BERT with a CTC head over the characters of one project."""
