"""Codex notebooks: reading cells, choosing among them, and small edits that let people win."""
