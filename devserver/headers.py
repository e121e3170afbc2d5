"""Text as a header value can carry it."""

from __future__ import annotations


def header_text(text: str) -> str:
    """Return a text on one line, its UTF-8 bytes travelling as Latin-1 (as GitLab sends names)."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable.encode("utf-8", "replace").decode("latin-1")
