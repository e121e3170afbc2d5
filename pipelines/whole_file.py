"""A text file that appears whole or not at all: a crash leaves the old one or the new one.

Knows no content. One writer at a time.
"""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, text: str) -> Path:
    """Replace a file in one step; returns its path."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    return part.replace(path)
