"""Where finished transcripts go besides files: a database, a store, a list of entities; and searching what lies there."""
