"""The optional stages that run in children: exact times of words, speakers, a summary.

    {"item": …, "stages": {"decode": …, "transcribe": …, earlier ones}, "folder": …}
        align       ─► values {"pack": [{"transcript", "warning"?}, …]}
        diarize     ─► values {"pack": [{"transcript", "turns"} | {"warning"}, …]}
        summarize   ─► values {"pack": [{"summary", "warning"?}, …]}

What a stage cannot do for one file is a warning beside that file; whatever ends the child is one for the whole
pack, whose files are then tried one by one. Each keeps its own model, and nothing else, in its process.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batch.stages.tasks import Told, write_transcript
from pipelines.asr.diarize.port import LONGEST_S, Diariser, open_diariser
from pipelines.asr.diarize.turns import SpeakerCount
from pipelines.asr.whisper.speakers import with_speakers
from pipelines.asr.whisper.transcript import Transcript
from pipelines.audio.stored import StoredSound
from pipelines.errors import EmptyCorpus, PipelineError

NO_FIT = "ALIGNMENT_NO_FIT"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One recording of a pack as the earlier stages left it."""

    sound: Path
    transcript: Path
    target: Path
    """Where this stage leaves its files, without an ending."""

    def heard(self) -> Transcript:
        """Read the transcript."""
        return Transcript.parse(json.loads(self.transcript.read_bytes()))


class Enrichment(ABC):
    """What the stages have in common: file by file, and what fails for one is said of that one."""

    def run(self, told: Told) -> Told:
        """Add something to every transcript of a pack."""
        return {"values": {"pack": [self._said(one) if one else {} for one in _waiting(told)]}}

    def _said(self, one: Waiting) -> Told:
        try:
            return self.add(one)
        except PipelineError as error:
            return {**self.nothing(), "warning": {"code": error.code, "message": str(error)}}

    @abstractmethod
    def add(self, one: Waiting) -> Told:
        """Add something to one transcript; raises `PipelineError`."""

    def nothing(self) -> Told:
        """What is said of a file for which it failed."""
        return {}


class Align(Enrichment):
    """Gives words the times at which a CTC model hears them."""

    def __init__(self, model: str) -> None:
        """Remember the model, a directory."""
        self._model = model

    def setup(self, device: str) -> None:
        """Load the model onto the device that this child was given."""
        from pipelines.asr.word_times import WordAligner

        self._aligner = WordAligner(self._model, device=device)

    def add(self, one: Waiting) -> Told:
        """Move words to their places; a transcript of which nothing fits stays as it is."""
        done = self._aligner.align(StoredSound(one.sound), one.heard())
        if done.kept and not done.aligned:
            message = (
                f"none of {done.kept} segments fits the model ({Path(self._model).name}); "
                f"is the recording in its language? Heard was {done.transcript.language!r}"
            )
            return {"warning": {"code": NO_FIT, "message": message}}
        return write_transcript(done.transcript, one.target.with_suffix(".json"))


class Diarize(Enrichment):
    """Finds out who speaks, and names the speakers in the transcript."""

    def __init__(
        self, diariser: str, speakers: dict[str, int | None], longest_s: float = LONGEST_S
    ) -> None:
        """Describe the diariser.

        Args:
            diariser: "voices" or "pyannote".
            speakers: fields of `SpeakerCount`.
            longest_s: how much sound is in memory at once.
        """
        self._name, self._longest_s = diariser, longest_s
        self._speakers = SpeakerCount(**speakers)  # type: ignore[arg-type]  # plain JSON of its own fields
        self._diariser: Diariser | None = None

    def setup(self, device: str) -> None:
        """Load the diariser onto the device that this child was given."""
        self._diariser = open_diariser(self._name, device=device, longest_s=self._longest_s)

    def add(self, one: Waiting) -> Told:
        """Listen for turns."""
        if self._diariser is None:
            raise RuntimeError("the task was not set up")
        turns = self._diariser.turns(StoredSound(one.sound).pieces(), self._speakers)
        listed = one.target.with_suffix(".turns.json")
        listed.write_text(json.dumps([asdict(turn) for turn in turns]), encoding="utf-8")
        named = with_speakers(one.heard(), turns)
        return {
            **write_transcript(named, one.target.with_suffix(".json")),
            "turns": listed.name,
        }


class Summarize(Enrichment):
    """Has a language model of this machine say in a few sentences what is said."""

    def __init__(self, **options: Any) -> None:
        """Describe the model: the options of `SummaryTask`."""
        self._options = options

    def setup(self, device: str) -> None:
        """Load the model onto the device that this child was given."""
        from pipelines.llm.summarize import SummaryTask

        self._summary = SummaryTask(**self._options)
        self._summary.setup(device)

    def add(self, one: Waiting) -> Told:
        """Summarise; nothing said has an empty summary, and that is no failure."""
        try:
            return {"summary": self._summary.run({"text": one.heard().text})["summary"]}
        except EmptyCorpus:
            return self.nothing()

    def nothing(self) -> Told:
        """An empty summary."""
        return {"summary": ""}


def _waiting(told: Told) -> Iterator[Waiting | None]:
    """The pack's recordings; None for one that could not be transcribed."""
    stages = told["stages"]
    decoded, transcribed = stages["decode"], stages["transcribe"]["values"]["pack"]
    for number, file in enumerate(decoded["values"]["pack"]):
        if "failed" in file or "failed" in transcribed[number]:
            yield None
            continue
        transcripts = [
            Path(stage["folder"], stage["values"]["pack"][number]["transcript"])
            for stage in stages.values()
            if "transcript" in stage["values"]["pack"][number]
        ]
        target = Path(told["folder"], str(number))
        yield Waiting(Path(decoded["folder"], file["audio"]), transcripts[-1], target)
