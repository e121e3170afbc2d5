"""The flags of the batch runner by subject; `batch.settings` joins them into one command line. Starts nothing."""
