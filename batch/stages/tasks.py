"""The two stages that run in children: decoding recordings on the CPU, transcribing them on the device.

    {"item": {"pack": [{"path", "kept"?}, …]}, "stages": {…}, "folder": …,
     "wishes": how to listen, if not as the task was told}
        decode      ─► values {"pack": [{"audio", "seconds"} | {"failed": {"code", "message"}}, …]}
        transcribe  ─► values {"pack": [{"transcript"} | {"failed": …}, …]}

A pack is one file, or several short ones that share windows. One that cannot be read fails alone, inside the
values; whatever ends the child fails the pack, and its files are then tried one by one. Large things go by file.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from batch.kept import KeptSections
from batch.memory import thrifty
from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ, Engine, Listening, open_engine
from pipelines.asr.whisper.sections import SECTION_S, join, sections
from pipelines.asr.whisper.transcript import Transcript
from pipelines.asr.whisper.vocabulary import Vocabulary
from pipelines.audio.decode import MAX_DURATION_S, Samples, decode_blocks
from pipelines.audio.stored import StoredSound, store
from pipelines.errors import AudioTooLong, AudioUnreadable
from runner.oom_plan import MemoryPlan

Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A decoded recording, and what an earlier life has made of it."""

    sound: StoredSound
    kept: KeptSections


class Decode:
    """Turns recordings of any kind into samples at 16 kHz, piece by piece."""

    def __init__(self, longest_s: float = MAX_DURATION_S) -> None:
        """Say how long a recording may be once it is decoded; headers are not believed."""
        self._longest_s = longest_s

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def run(self, told: Told) -> Told:
        """Decode a pack."""
        folder = Path(told["folder"])
        files = told["item"]["pack"]
        decoded = [
            _decoded(Path(file["path"]), folder / f"{n}.pcm", self._longest_s)
            for n, file in enumerate(files)
        ]
        return {"values": {"pack": decoded}}


class Transcribe:
    """Keeps an engine loaded and runs packs of decoded recordings through it."""

    def __init__(
        self,
        engine: Mapping[str, Any],
        listening: Mapping[str, Any],
        vocabulary: Told,
        section_s: float = SECTION_S,
        learned: Mapping[str, Any] | None = None,
    ):
        """Describe the engine.

        Args:
            engine: `name`, `model`, `precision`, `threads`.
            listening: `Listening.to_json()`; its prompt is made here, with the model's own tokens.
            vocabulary: `vocabulary` and `replacements`, paths or None.
            section_s: sound that is in memory at once; a longer recording is heard piece by piece.
            learned: where it is remembered what helped when the GPU was too small; see `thrifty`.
        """
        self._section_s = section_s
        self._options = engine
        self._listening = Listening.parse(listening)
        self._vocabulary = {name: Path(path) if path else None for name, path in vocabulary.items()}
        self._memory = thrifty(engine, self._listening.batch_size, learned or {})
        self._device = "cpu"
        self._precision = ""
        self._engine: Engine | None = None

    def setup(self, device: str) -> None:
        """Load the model onto the device that this child was given."""
        self._device = device
        self._memory.run(self._load)
        self._listening = replace(self._listening, prompt=self._prompt(**self._vocabulary))

    def _load(self, plan: MemoryPlan) -> Engine:
        """The engine in a plan's precision; one of another precision has to go first."""
        if self._engine is None or plan.precision != self._precision:
            self._engine = None
            gc.collect()
            options = self._options
            self._engine = open_engine(
                options["name"],
                options["model"],
                device=self._device,
                precision=plan.precision,
                threads=options["threads"],
            )
            self._precision = plan.precision
        return self._engine

    def run(self, told: Told) -> Told:
        """Transcribe a pack."""
        if "wishes" in told:
            self._heed(**told["wishes"])
        decoded = told["stages"]["decode"]
        transcripts = self._transcripts(list(_waiting(told)))
        folder = Path(told["folder"])
        pack: list[Told] = []
        for number, file in enumerate(decoded["values"]["pack"]):
            if "failed" in file:
                pack.append(file)
                continue
            pack.append(write_transcript(next(transcripts), folder / f"{number}.json"))
        info, memory = self._ready.info, self._memory.take_facts()
        engine: Told = {"engine": info.engine, "model": info.model}
        if memory:
            engine["memory"] = memory
        return {"values": {"pack": pack, "engine": engine}}

    @property
    def _ready(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the task was not set up")
        return self._engine

    def _heed(self, *, vocabulary: str | None, **wishes: Any) -> None:
        """Listen as this pack and not as the one before it wants: fields of `Listening`, and words to expect."""
        prompt = self._prompt(Path(vocabulary) if vocabulary else None, None)
        plain = {**self._listening.to_json(), **wishes, "prompt": prompt}
        self._listening = Listening.parse(plain)

    def _prompt(self, vocabulary: Path | None, replacements: Path | None) -> str:
        """The team's words, in the model's own tokens."""
        return Vocabulary.load(vocabulary, replacements).prompt(self._ready.count_tokens).text

    def _transcripts(self, files: Sequence[_Waiting]) -> Iterator[Transcript]:
        """Short ones together, as many as memory should hold at once; a long one section by section."""
        for group in self._grouped(files):
            if len(group[0].sound) > self._section_samples:
                yield self._long(group[0])
            else:
                yield from self._listen([file.sound.read() for file in group])

    def _grouped(self, files: Sequence[_Waiting]) -> Iterator[list[_Waiting]]:
        group: list[_Waiting] = []
        room = self._section_samples
        for file in files:
            if group and len(file.sound) > room:
                yield group
                group, room = [], self._section_samples
            group.append(file)
            room -= len(file.sound)
        if group:
            yield group

    def _long(self, file: _Waiting) -> Transcript:
        """One recording, section by section; those that an earlier life has heard are not heard again."""
        parts: list[tuple[float, Transcript]] = []
        for start_s, samples in sections(file.sound.read, len(file.sound), self._section_s):
            start = round(start_s * SAMPLE_RATE_HZ)
            heard = file.kept.once(start, start + len(samples), partial(self._heard, samples))
            parts.append((start_s, heard))
        return join(parts)

    def _heard(self, samples: Samples) -> Transcript:
        return self._listen([samples])[0]

    @property
    def _section_samples(self) -> int:
        return round(self._section_s * SAMPLE_RATE_HZ)

    def _listen(self, recordings: list[Samples]) -> list[Transcript]:
        """Transcribe, with less from now on if the GPU's memory does not suffice."""

        def listen(plan: MemoryPlan) -> list[Transcript]:
            listening = replace(self._listening, batch_size=plan.batch)
            return self._load(plan).transcribe(recordings, listening)

        return self._memory.run(listen)


def _waiting(told: Told) -> Iterator[_Waiting]:
    """The recordings of a pack that could be decoded."""
    decoded = told["stages"]["decode"]
    for asked, file in zip(told["item"]["pack"], decoded["values"]["pack"], strict=True):
        if "failed" not in file:
            sound = StoredSound(Path(decoded["folder"], file["audio"]))
            yield _Waiting(sound, KeptSections.parse(asked.get("kept")))


def readable(decoded: Mapping[str, Any]) -> Iterator[Path]:
    """The sound files that the decoding stage left."""
    for file in decoded["values"]["pack"]:
        if "failed" not in file:
            yield Path(decoded["folder"], file["audio"])


def write_transcript(transcript: Transcript, path: Path) -> Told:
    """Leave a transcript for the next stage; it may be too large for a frame."""
    path.write_text(json.dumps(transcript.to_json()), encoding="utf-8")
    return {"transcript": path.name}


def _decoded(source: Path, target: Path, longest_s: float) -> Told:
    try:
        blocks = decode_blocks(source, SAMPLE_RATE_HZ, max_duration_s=longest_s)
        count = store(blocks, target)
        if not count:
            raise AudioUnreadable(source, "it contains no sound")
    except AudioUnreadable as error:
        target.unlink()
        code = "AUDIO_TOO_LONG" if isinstance(error, AudioTooLong) else "AUDIO_UNREADABLE"
        return {"failed": {"code": code, "message": error.reason}}
    return {"audio": target.name, "seconds": round(count / SAMPLE_RATE_HZ, 3)}
