"""What a batch is about: recordings named, found, brought here, and packed together."""
