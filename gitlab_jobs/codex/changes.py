"""What a job wants done to a cell, as plain intentions that can be applied to any newer notebook.

Knows no notebook JSON (`edits` and `attachments` apply these) and no transport.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SetText:
    """Write recognised text into a cell.

    `take_id` is the take that was transcribed: if another one is current by the time of writing, the
    change is dropped. `listed` means the job named the cell, so existing text may be replaced.
    """

    cell_id: str
    text: str
    take_id: str | None
    listed: bool


@dataclass(frozen=True, slots=True)
class TakeMedia:
    """What an encoded take is; becomes the attachment's `metadata`."""

    mime_type: str
    sample_rate_hz: int
    channels: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class AddTake:
    """Add generated audio to a cell and select it.

    `spoken_text` is the plain text that was spoken: if the cell says something else by the time of
    writing, the change is dropped. `listed` means existing audio may be replaced as the selection.
    """

    cell_id: str
    audio: Path
    media: TakeMedia
    spoken_text: str
    listed: bool


CellChange = SetText | AddTake
