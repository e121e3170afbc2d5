"""What a finished job leaves: one JSON file, and every form that a person may want, made from it.

    {"transcript": …, "engine": …, "turns": …, "warnings": …}  ─► json, txt, formatted, srt, vtt, tsv

Knows no job: a path and a name are enough.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batch.flow import Heard, Outcome
from batch.recordings.source import Asset
from pipelines.asr.diarize.turns import Turn
from pipelines.asr.whisper.corrections import Corrector
from pipelines.asr.whisper.outputs import FORMATS, Result
from pipelines.asr.whisper.transcript import Transcript
from pipelines.asr.whisper.vocabulary import Vocabulary
from pipelines.whole_file import write_whole

MEDIA_TYPES = {"json": "application/json", "vtt": "text/vtt", "srt": "application/x-subrip"}


@dataclass(frozen=True, slots=True)
class Keep:
    """Writes a transcript as the one file that all forms are made from; corrections are the client's business."""

    path: Path

    def __call__(self, asset: Asset, heard: Heard) -> Outcome:
        """Keep what was heard in one file."""
        transcript = json.loads(heard.transcript.read_bytes())
        content: dict[str, Any] = {"transcript": transcript, "engine": dict(heard.engine)}
        if heard.turns is not None:
            content["turns"] = json.loads(heard.turns.read_bytes())
        content["warnings"] = [asdict(warned) for warned in heard.warnings]
        write_whole(self.path, json.dumps(content, ensure_ascii=False))
        return Outcome(asset, flags=tuple(transcript["flags"]), warnings=heard.warnings)

    @property
    def sha256(self) -> str:
        """Of the written file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def render(path: Path, form: str, name: str) -> str:
    """One form of a result.

    Args:
        path: of the result.
        form: key of `FORMATS`.
        name: of the recording.
    """
    content = json.loads(path.read_bytes())
    transcript = Transcript.parse(content["transcript"])
    turns = tuple(Turn(**turn) for turn in content["turns"]) if "turns" in content else None
    corrected = Corrector(Vocabulary()).correct(transcript)
    result = Result(corrected, name, content["engine"], turns)
    text: str = FORMATS[form][1](result)
    return text
