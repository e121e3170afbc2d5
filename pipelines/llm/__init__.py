"""Language models on transcripts: corrections that can be checked, and summaries.

Knows text and endpoints. Does not know where a transcript came from, nor what becomes of a refusal.
"""
