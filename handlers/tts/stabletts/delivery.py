"""From spoken verses to takes in their cells, with a table that names every verse and its fate.

Knows which verse a take belongs to; knows no model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitlab_jobs.callbacks import JobCallbacks, JobContext, ProjectData, Stage, Utterance
from gitlab_jobs.codex.changes import AddTake, TakeMedia
from gitlab_jobs.job import JobResult
from handlers.corpus import MOST_NAMED, name
from handlers.table import write_table
from pipelines.audio.encode import EncodedAudio, encode
from pipelines.tts.stabletts.base import WITHOUT_WEIGHTS
from pipelines.tts.stabletts.config import SAMPLE_RATE
from pipelines.tts.stabletts.reference import Reference
from pipelines.tts.stabletts.synthesize import Spoken, Verse
from pipelines.tts.stabletts.vocabulary import Coverage, Vocabulary, cover

logger = logging.getLogger(__name__)

TABLE = "speech.tsv"


@dataclass(frozen=True, slots=True)
class Take:
    """What became of one verse; `audio` is None where `problem` says why."""

    utterance: Utterance
    audio: EncodedAudio | None
    problem: str | None
    flags: tuple[str, ...]
    tries: int
    cer: float | None = None
    heard: str | None = None
    """What a recogniser heard, if one was asked, and the share of characters that it heard otherwise."""

    @property
    def worst_first(self) -> tuple[bool, float, int, int]:
        """A key that sorts what a person should look at to the top."""
        return (self.audio is not None, -(self.cer or 0.0), -len(self.flags), -self.tries)


@dataclass(frozen=True, slots=True)
class Speaking:
    """How the verses of a job were spoken."""

    reference: Reference
    vocoder: str
    coverage: Coverage

    @property
    def facts(self) -> dict[str, Any]:
        """Plain values for the job's response."""
        return {
            "text_coverage": round(self.coverage.share, 4),
            "voice_reference": self.reference.id,
            "vocoder": self.vocoder,
        }


def verses(data: ProjectData) -> list[Verse]:
    """Texts to speak; two notebooks may use one cell id."""
    return [Verse(_key(utterance), utterance.text) for utterance in data.utterances]


def coverage(vocabulary: Vocabulary, data: ProjectData) -> Coverage:
    """Check which symbols the voice knows; what it does not know goes into the job's log."""
    covered = cover(vocabulary, {name(one): one.text for one in data.utterances})
    for line in covered.warnings():
        logger.warning("%s", line)
    return covered


def record(
    spoken: Iterable[Spoken], data: ProjectData, directory: Path, audio_format: str
) -> list[Take]:
    """Encode verses as they get ready, so that only files are kept; in project order."""
    directory.mkdir(parents=True, exist_ok=True)
    utterances = {_key(utterance): utterance for utterance in data.utterances}
    numbers = {key: number for number, key in enumerate(utterances)}
    takes: dict[str, Take] = {}
    for one in spoken:
        audio = None
        if one.samples is not None:
            path = directory / f"{numbers[one.id]}.{audio_format}"
            audio = encode(one.samples, SAMPLE_RATE, path, audio_format)
        takes[one.id] = Take(utterances[one.id], audio, one.problem, one.flags, one.tries)
    return [takes[key] for key in utterances]


def nothing_to_do(data: ProjectData) -> JobResult:
    """The result of a job that found no verse to speak."""
    return JobResult(
        summary="No verse with text is waiting for a recording.", facts=_facts((), data)
    )


def publish(
    context: JobContext,
    callbacks: JobCallbacks,
    data: ProjectData,
    takes: Sequence[Take],
    facts: Mapping[str, Any],
) -> JobResult:
    """Hand takes and their table over, and sum up."""
    with callbacks.stage(Stage.UPLOAD):
        _add_takes(callbacks, takes)
        table = callbacks.get_work_dir() / TABLE
        write_table(table, _HEADER, map(_row, sorted(takes, key=lambda take: take.worst_first)))
        callbacks.upload_files_batch({f"{context.folder}/{TABLE}": table})
    return JobResult(summary=_summary(takes, facts), facts={**_facts(takes, data), **facts})


def _summary(takes: Sequence[Take], facts: Mapping[str, Any]) -> str:
    done = sum(take.audio is not None for take in takes)
    notes = [f"Spoke {done} of {len(takes)} verses."]
    if done < len(takes):
        left = len(takes) - done
        notes.append(f"{left} {'was' if left == 1 else 'were'} left out (see {TABLE}).")
    if to_check := sum(bool(take.audio and take.flags) for take in takes):
        notes.append(f"{to_check} should be listened to first.")
    if facts.get("vocoder") == WITHOUT_WEIGHTS:
        notes.append("This worker has no vocoder weights, so everything sounds metallic.")
    return " ".join(notes)


_HEADER = ("verse", "seconds", "tries", "cer", "flags", "problem", "text", "cell")


def _row(take: Take) -> tuple[str, ...]:
    return (
        name(take.utterance),
        f"{take.audio.duration_s:.2f}" if take.audio else "",
        str(take.tries),
        "" if take.cer is None else f"{take.cer:.3f}",
        ", ".join(take.flags),
        take.problem or "",
        take.utterance.text,
        take.utterance.cell_id,
    )


def _add_takes(callbacks: JobCallbacks, takes: Iterable[Take]) -> None:
    """Hand takes over, one call per notebook."""
    by_notebook: dict[str, list[AddTake]] = {}
    for take in takes:
        if take.audio is None:
            continue
        audio, cell = take.audio, take.utterance
        media = TakeMedia(audio.mime_type, audio.sample_rate_hz, audio.channels, audio.duration_s)
        change = AddTake(cell.cell_id, audio.path, media, cell.text, cell.listed)
        by_notebook.setdefault(cell.notebook, []).append(change)
    for notebook, changes in by_notebook.items():
        callbacks.update_codex_file(notebook, changes)


def _facts(takes: Sequence[Take], data: ProjectData) -> dict[str, Any]:
    """Plain values for the job's response."""
    failed = [f"{name(take.utterance)}: {take.problem}" for take in takes if take.problem]
    left_out = [f"{skip.reference or skip.cell_id}: {skip.reason}" for skip in data.skipped]
    spoken_s = sum(take.audio.duration_s for take in takes if take.audio)
    errors = [take.cer for take in takes if take.cer is not None]
    read_back = {"read_back_cer": round(sum(errors) / len(errors), 4)} if errors else {}
    return {
        **read_back,
        "verses_spoken": sum(take.audio is not None for take in takes),
        "verses_to_check": sum(bool(take.audio and take.flags) for take in takes),
        "spoken_minutes": round(spoken_s / 60, 2),
        "verses_skipped": len(failed) + len(left_out),
        "skipped": (failed + left_out)[:MOST_NAMED],
    }


def _key(utterance: Utterance) -> str:
    return f"{utterance.notebook}#{utterance.cell_id}"
