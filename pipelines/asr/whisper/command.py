"""The command line of whisper.cpp: its arguments, and what its JSON says. Starts nothing.

whisper-cli -m MODEL -f SOUND.wav -l auto -t 4 -bs 5 -np -ojf -of BASE      writes BASE.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.asr.whisper.assembly import Heading, assemble
from pipelines.asr.whisper.suspicion import flags_of
from pipelines.asr.whisper.transcript import Segment, Transcript, Word
from pipelines.errors import PipelineError

PROGRAMS = ("whisper-cli", "whisper-cpp")
"""By its present name, and by the one under which packages carry it."""


class BadCommandOutput(PipelineError):
    """What whisper.cpp wrote is not its JSON."""

    code = "CHILD_PROTOCOL"


def arguments(
    program: str, model: str, *, threads: int, language: str | None, beam: int
) -> list[str]:
    """The program and its arguments; `{sound}` and `{base}` stand for one recording's names."""
    options = {"-m": model, "-t": str(threads), "-l": language or "auto", "-bs": str(beam)}
    flat = [word for option in options.items() for word in option]
    return [program, *flat, "-np", "-ojf", "-of", "{base}", "-f", "{sound}"]


def read_output(path: Path, duration_s: float) -> Transcript:
    """Read what whisper.cpp wrote about one recording.

    Raises:
        BadCommandOutput: it is not there, or not what it should be.
    """
    try:
        # Tokens may be parts of a letter in UTF-8.
        content = json.loads(path.read_bytes().decode("utf-8", "replace"))
        segments = [_segment(fields, duration_s) for fields in content["transcription"]]
        language = str(content["result"]["language"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadCommandOutput(f"whisper.cpp wrote no transcript: {error!r}") from error
    return assemble([s for s in segments if s.text], Heading(duration_s, language, 1.0))


def _segment(fields: dict[str, Any], duration_s: float) -> Segment:
    text = fields["text"].strip()
    words = _words(fields.get("tokens", ()), duration_s)
    start_s = _seconds(fields["offsets"]["from"], duration_s)
    end_s = max(start_s, _seconds(fields["offsets"]["to"], duration_s))
    confidence = sum(word.probability for word in words) / len(words) if words else 0.0
    flags = flags_of(text, max(end_s - start_s, 0.001))
    return Segment(start_s, end_s, text, round(confidence, 4), tuple(words), flags)


def _words(tokens: Any, duration_s: float) -> list[Word]:
    """Tokens joined to words: one begins where there is a space before it."""
    words: list[Word] = []
    for token in tokens:
        text = token["text"]
        if text.startswith("[_"):  # a mark of the model, such as [_BEG_]
            continue
        end_s = _seconds(token["offsets"]["to"], duration_s)
        if words and not text.startswith(" "):
            last = words[-1]
            probability = min(last.probability, round(float(token["p"]), 4))
            words[-1] = Word(last.start_s, max(last.end_s, end_s), last.text + text, probability)
            continue
        start_s = _seconds(token["offsets"]["from"], duration_s)
        earliest_s = words[-1].end_s if words else start_s
        start_s = max(start_s, earliest_s)
        words.append(Word(start_s, max(start_s, end_s), text, round(float(token["p"]), 4)))
    return words


def _seconds(milliseconds: float, duration_s: float) -> float:
    return round(min(max(0.0, milliseconds / 1000), duration_s), 3)
