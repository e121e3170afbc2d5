"""What a batch knows about its files from one run to the next, and what it decides by that."""
