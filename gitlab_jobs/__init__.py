"""What a job is, where it lives and who owns it; knows neither models nor audio."""
