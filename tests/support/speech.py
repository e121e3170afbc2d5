"""The recorded clips under `tests/data/speech`, and what the tests build from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SPEECH = Path(__file__).parents[1] / "data" / "speech"


@dataclass(frozen=True, slots=True)
class SpokenClip:
    """A clip with its transcript."""

    path: Path
    text: str
    speaker: str
    seconds: float


def spoken_clips(longest_s: float = 60.0) -> list[SpokenClip]:
    """All clips up to a length, in the order of the list."""
    entries = json.loads((SPEECH / "transcripts.json").read_text("utf-8"))
    return [
        SpokenClip(SPEECH / entry["file"], entry["text"], entry["speaker"], entry["seconds"])
        for entry in entries
        if entry["seconds"] <= longest_s
    ]


def spoken_clip(name: str) -> SpokenClip:
    """One clip by its file name without suffix."""
    return next(clip for clip in spoken_clips() if clip.path.stem == name)
