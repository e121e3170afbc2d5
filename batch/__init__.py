"""Transcribes folders and lists of recordings: resumable, on warm workers; knows no GitLab and no jobs."""
