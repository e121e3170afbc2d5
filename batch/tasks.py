"""The two stages that run in children: decoding recordings on the CPU, transcribing them on the device.

    {"item": {"pack": [{"path"}, …]}, "stages": {…}, "folder": …, "wishes": how to listen, if not as the task was told}
        decode      ─► values {"pack": [{"audio", "seconds"} | {"failed": {"code", "message"}}, …]}
        transcribe  ─► values {"pack": [{"transcript"} | {"failed": …}, …]}

A pack is one file, or several short ones that share windows. One that cannot be read fails alone, inside the
values; whatever ends the child fails the pack, and its files are then tried one by one. Large things go by file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ, Engine, Listening, open_engine
from pipelines.asr.whisper.sections import SECTION_S, join, sections
from pipelines.asr.whisper.transcript import Transcript
from pipelines.asr.whisper.vocabulary import Vocabulary
from pipelines.audio.decode import decode_blocks
from pipelines.audio.stored import StoredSound, store
from pipelines.errors import AudioUnreadable

Told = dict[str, Any]


class Decode:
    """Turns recordings of any kind into samples at 16 kHz, piece by piece."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def run(self, told: Told) -> Told:
        """Decode a pack."""
        folder = Path(told["folder"])
        files = told["item"]["pack"]
        decoded = [
            _decoded(Path(file["path"]), folder / f"{n}.pcm") for n, file in enumerate(files)
        ]
        return {"values": {"pack": decoded}}


class Transcribe:
    """Keeps an engine loaded and runs packs of decoded recordings through it."""

    def __init__(self, engine: Mapping[str, Any], listening: Mapping[str, Any], vocabulary: Told):
        """Describe the engine.

        Args:
            engine: `name`, `model`, `precision`, `threads`.
            listening: `Listening.to_json()`; its prompt is made here, with the model's own tokens.
            vocabulary: `vocabulary` and `replacements`, paths or None.
        """
        self._options = engine
        self._listening = Listening.parse(listening)
        self._vocabulary = {name: Path(path) if path else None for name, path in vocabulary.items()}
        self._engine: Engine | None = None

    def setup(self, device: str) -> None:
        """Load the model onto the device that this child was given."""
        options = self._options
        self._engine = open_engine(
            options["name"],
            options["model"],
            device=device,
            precision=options["precision"],
            threads=options["threads"],
        )
        self._listening = replace(self._listening, prompt=self._prompt(**self._vocabulary))

    def run(self, told: Told) -> Told:
        """Transcribe a pack."""
        if "wishes" in told:
            self._heed(**told["wishes"])
        decoded = told["stages"]["decode"]
        transcripts = iter(self._transcripts(list(readable(decoded))))
        folder = Path(told["folder"])
        pack: list[Told] = []
        for number, file in enumerate(decoded["values"]["pack"]):
            if "failed" in file:
                pack.append(file)
                continue
            pack.append(write_transcript(next(transcripts), folder / f"{number}.json"))
        info = self._ready.info
        return {"values": {"pack": pack, "engine": {"engine": info.engine, "model": info.model}}}

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

    def _transcripts(self, paths: list[Path]) -> list[Transcript]:
        """All of a pack together, unless that is more than memory should hold at once."""
        sounds = [StoredSound(path) for path in paths]
        if sum(map(len, sounds)) <= SECTION_S * SAMPLE_RATE_HZ:
            return self._listen([sound.read() for sound in sounds])
        return [self._long(sound) for sound in sounds]

    def _long(self, sound: StoredSound) -> Transcript:
        """One recording, section by section."""
        parts = sections(sound.read, len(sound), SECTION_S)
        return join([(start_s, self._listen([samples])[0]) for start_s, samples in parts])

    def _listen(self, recordings: list[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe, with smaller batches from now on if the device's memory is too small."""
        while True:
            try:
                return self._ready.transcribe(recordings, self._listening)
            except RuntimeError as error:
                smaller = self._listening.batch_size // 2
                if "out of memory" not in str(error) or not smaller:
                    raise
                self._listening = replace(self._listening, batch_size=smaller)


def readable(decoded: Mapping[str, Any]) -> Iterator[Path]:
    """The sound files that the decoding stage left."""
    for file in decoded["values"]["pack"]:
        if "failed" not in file:
            yield Path(decoded["folder"], file["audio"])


def write_transcript(transcript: Transcript, path: Path) -> Told:
    """Leave a transcript for the next stage; it may be too large for a frame."""
    path.write_text(json.dumps(transcript.to_json()), encoding="utf-8")
    return {"transcript": path.name}


def _decoded(source: Path, target: Path) -> Told:
    try:
        count = store(decode_blocks(source, SAMPLE_RATE_HZ), target)
        if not count:
            raise AudioUnreadable(source, "it contains no sound")
    except AudioUnreadable as error:
        target.unlink()
        return {"failed": {"code": "AUDIO_UNREADABLE", "message": error.reason}}
    return {"audio": target.name, "seconds": round(count / SAMPLE_RATE_HZ, 3)}
