"""Cell values, which are HTML fragments, to the plain text that is spoken and trained on, and back.

Knows no cells. The rules are the same for training and inference, so that a model hears what it was
taught. Tags are read by a real HTML parser: footnotes carry markup inside an attribute.
"""

from __future__ import annotations

import html
import re
import unicodedata

from selectolax.lexbor import LexborHTMLParser

_DROPPED = ["sup", "script", "style", "iframe", "template"]
_DROPPED_CLASS = ".spell-check"
_BLOCKS = "br, p, div, li, h1, h2, h3, h4, h5, h6, td, th, tr, blockquote, ul, ol, hr, pre, section"

# Invisible, and meaningless in speech. Joiners (U+200C, U+200D) stay: Indic and Arabic need them.
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u2060\ufeff]")
_ALSO_INVISIBLE_IF_ALONE = re.compile("[\u200b-\u200f\u202f\u2060\ufeff]")
_PLACEHOLDERS = frozenset({"click to translate", "no text"})
_SURROGATE = re.compile("[\ud800-\udfff]")


def plain_text(value: str) -> str:
    """The words of a cell: no tags, no footnotes, one blank between words, NFC."""
    text = _without_tags(value) if "<" in value or "&" in value else value
    text = _INVISIBLE.sub("", text)
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or not _is_control(c))
    return unicodedata.normalize("NFC", " ".join(text.split()))


def is_blank(plain: str) -> bool:
    """Whether plain text says nothing: empty, invisible, or a placeholder of the editor."""
    visible = _ALSO_INVISIBLE_IF_ALONE.sub("", plain).strip()
    return not visible or visible.casefold() in _PLACEHOLDERS


def html_of(text: str) -> str:
    """Plain text as a cell value: escaped, lines joined by `<br/>`, no wrapper."""
    cleaned = _SURROGATE.sub("\ufffd", unicodedata.normalize("NFC", text))
    lines = (" ".join(line.split()) for line in cleaned.splitlines())
    kept = ("".join(c for c in line if not _is_control(c)) for line in lines if line)
    return "<br/>".join(html.escape(line, quote=False) for line in kept)


def _without_tags(value: str) -> str:
    tree = LexborHTMLParser(_SURROGATE.sub("\ufffd", value))
    tree.strip_tags(_DROPPED)
    for node in tree.css(_DROPPED_CLASS):
        node.decompose()
    for node in tree.css(_BLOCKS):
        node.insert_before(" ")
        node.insert_after(" ")
    body = tree.body
    return "" if body is None else body.text()


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs"}
