"""Whether a team's vocabulary helps: names and terms that are spelt right without and with the prompt.

Real recordings for words that have several spellings; eSpeak for names that Whisper has hardly met. Both through
Whisper base, all clips of a kind at once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.runner_ways import ROOT, Row
from benchmarks.spoken_language import Sentence, Speaker
from benchmarks.whisper_errors import word_error_rate
from benchmarks.whisper_weights import ctranslate2_model
from pipelines.asr.whisper.engine import Engine, Listening, open_engine
from pipelines.asr.whisper.vocabulary import Vocabulary
from pipelines.audio.decode import decode
from pipelines.text.normalize import spoken_form

SPEECH = ROOT / "tests" / "data" / "speech"
TERMS = ("Gutenberg", "Dashwood", "woodcutters", "ill-disposed", "picture-books", "letterpress")
NAMES = (
    "Sweynheim", "Pannartz", "Subiaco", "Habakkuk", "Nebuchadnezzar", "Chebar", "Onesiphorus",
    "Epaphroditus", "Goroka", "Wewak",
)  # fmt: skip
SENTENCES = (
    "The printers Sweynheim and Pannartz came to Subiaco in the autumn.",
    "Then Habakkuk spoke to Nebuchadnezzar beside the river Chebar.",
    "The bishop sent a letter to Onesiphorus and Epaphroditus.",
    "The translators of the mountains met near Goroka and Wewak.",
)
VOICES = ("m1", "f2", "m3", "f4")

Samples = NDArray[np.float32]


def names(beam: int) -> list[Row]:
    """The rows of both kinds."""
    engine = open_engine("faster-whisper", ctranslate2_model())
    texts, sounds = _recorded()
    speaker = Speaker("en")
    spoken = [
        speaker.say(Sentence(text, voice), random.Random(text))
        for text, voice in zip(SENTENCES, VOICES, strict=True)
    ]
    return [
        _row("terms in recordings", engine, beam, TERMS, texts, sounds),
        _row("rare names spoken by eSpeak", engine, beam, NAMES, SENTENCES, spoken),
    ]


def _recorded() -> tuple[list[str], list[Samples]]:
    """The clips in which one of the terms is said."""
    entries = json.loads((SPEECH / "transcripts.json").read_text("utf-8"))
    wanted = [spoken_form(term) for term in TERMS]
    chosen = [
        entry
        for entry in entries
        if any(
            _is_in(term, entry["text"].replace("ill disposed", "ill-disposed")) for term in wanted
        )
    ]
    sounds = [decode(SPEECH / entry["file"]).samples for entry in chosen]
    return [entry["text"] for entry in chosen], sounds


def _row(
    what: str,
    engine: Engine,
    beam: int,
    words: Sequence[str],
    texts: Sequence[str],
    sounds: Sequence[Samples],
) -> Row:
    measured = []
    for prompt in ("", Vocabulary(tuple(words)).prompt(engine.count_tokens).text):
        listening = Listening("en", beam=beam, prompt=prompt)
        heard = [transcript.text for transcript in engine.transcribe(list(sounds), listening)]
        right = sum(any(_is_in(word, text) for text in heard) for word in words)
        measured.append((right, 100 * word_error_rate(texts, heard)))
    (bare, bare_wer), (told, told_wer) = measured
    return Row(
        f"vocabulary prompt: {what} spelt right, of {len(words)}",
        f"{bare} without, {told} with it (WER of the clips {bare_wer:.1f} and {told_wer:.1f} %)",
        "more with it",
        told > bare,
    )


def _is_in(word: str, text: str) -> bool:
    return f" {spoken_form(word)} " in f" {spoken_form(text)} "
