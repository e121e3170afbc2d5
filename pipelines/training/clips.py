"""What every training is given: recordings with their texts. Knows no format and no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording and what is said in it; clips of one `group` were made in one go.

    A `book` holds many groups.
    """

    id: str
    audio: Path
    text: str
    group: str = ""
    book: str = ""


@dataclass(frozen=True, slots=True)
class SkippedClip:
    """A clip that was left out, with a reason that completes "… was left out:"."""

    id: str
    reason: str
