"""Speech synthesis: text and recordings in, voices and waveforms out."""
