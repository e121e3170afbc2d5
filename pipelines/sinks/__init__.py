"""Where transcripts go besides files: a database one can search, an object store, an entity service.

Each sink is an option of a batch and stands alone; the one that fails is that recording's warning.
Knows records. Does not know how a transcript came about, nor which sinks an operator has chosen.
"""
