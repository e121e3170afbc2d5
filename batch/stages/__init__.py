"""What children and programs do for a batch, by stage: decode, transcribe, and what may be added. Knows no files of a batch."""
