"""A finished transcript on its way to the sinks: names and files, and the record that is made from its JSON.

Plain data that crosses processes; whoever reads the JSON is in no hurry. Knows no sink.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pipelines.asr.whisper.outputs import read_result
from pipelines.sinks.record import Entity, Passage, Record, passages_of
from pipelines.whole_file import write_whole

ENTITIES_ENDING = "_entities.json"


@dataclass(frozen=True, slots=True)
class Handed:
    """One recording's outputs; `files` begins with the JSON that holds everything."""

    asset_id: str
    name: str
    source: str
    files: tuple[Path, ...]

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> Self:
        """Read what `to_json` made."""
        return cls(**{**fields, "files": tuple(map(Path, fields["files"]))})

    def to_json(self) -> dict[str, Any]:
        """Plain data for another process."""
        return {**asdict(self), "files": [str(path) for path in self.files]}

    def record(self) -> Record:
        """Read the JSON; entities are those that were found in this very text.

        Raises:
            OSError: it is not there.
            ValueError: it is damaged.
            KeyError: it is no transcript.
        """
        result = read_result(self.files[0])
        transcript = result.corrected.transcript
        known = self.entities(transcript.text)
        files = [*self.files, *([self.entities_path] if known is not None else [])]
        return Record(
            asset_id=self.asset_id,
            name=self.name,
            source=self.source,
            text=transcript.text,
            language=transcript.language,
            duration_s=transcript.duration_s,
            passages=tuple(
                passages_of(
                    Passage(part.start_s, part.end_s, part.text, part.speaker)
                    for part in transcript.segments
                )
            ),
            summary=result.summary or "",
            files=tuple(files),
            entities=known or (),
        )

    @property
    def entities_path(self) -> Path:
        """Where names and key phrases are kept, so that a paid service is asked once."""
        base = self.files[0]
        return base.with_name(f"{base.name.removesuffix('.json')}{ENTITIES_ENDING}")

    def entities(self, text: str) -> tuple[Entity, ...] | None:
        """What was found in this text before; None if nobody has looked."""
        try:
            content = json.loads(self.entities_path.read_bytes())
        except (OSError, ValueError):
            return None
        if content.get("text_sha256") != _digest(text):
            return None
        return tuple(Entity(**fields) for fields in content["entities"])

    def keep_entities(self, text: str, found: Iterable[Entity]) -> None:
        """Write down what was found in a text."""
        content = {"text_sha256": _digest(text), "entities": [asdict(one) for one in found]}
        write_whole(self.entities_path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
