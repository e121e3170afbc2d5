"""Between a project's cells and what recognition pipelines work on. Used by both halves of a job.

Knows which verse a clip belongs to; knows no audio and no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gitlab_jobs.callbacks import JobCallbacks, JobContext, ProjectData, Purpose, Stage, Utterance
from gitlab_jobs.codex.changes import SetText
from gitlab_jobs.job import JobResult
from handlers.publishing import publish_report
from handlers.table import write_table
from pipelines.report.parts import Number, Part, Table
from pipelines.training.clips import Clip

REPORT = "transcription.tsv"
MOST_ROWS = 300
"""Verses in `report.html`, the worst first; all of them are in the table file."""
MOST_NAMED = 20
"""Skipped verses that are named in `response.yaml`; all of them are in the report file."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a recogniser made of one utterance; `problem` says why there is nothing."""

    utterance: Utterance
    text: str
    confidence: float
    flags: tuple[str, ...]
    problem: str | None = None
    uncorrected: str = ""
    """The text before a corrector had it, where it differs."""


def download(callbacks: JobCallbacks, purpose: Purpose) -> ProjectData:
    """Fetch a job's cells; audio that an earlier stage or job fetched is not fetched again."""
    with callbacks.stage(Stage.DOWNLOAD):
        callbacks.heartbeat(message="Downloading recordings")
        return callbacks.download_project_data(purpose)


def spoken(data: ProjectData) -> list[tuple[Utterance, Path]]:
    """Utterances that have a recording, with it."""
    return [(utterance, utterance.audio) for utterance in data.utterances if utterance.audio]


def chapter(utterance: Utterance) -> str:
    """Notebook and chapter: recordings of one chapter were mostly made in one go."""
    reference = utterance.reference or ""
    return f"{utterance.notebook}#{reference.rpartition(':')[0]}"


def _book(utterance: Utterance) -> str:
    """What the notebook's file is called."""
    return PurePosixPath(utterance.notebook).stem


def name(utterance: Utterance) -> str:
    """What a translator knows a cell by."""
    return utterance.reference or utterance.cell_id


def clips(data: ProjectData) -> list[Clip]:
    """Recordings with their texts, by what a translator knows them by; numbered where verses share it."""
    seen: Counter[str] = Counter()
    found = []
    for utterance, audio in spoken(data):
        plain = name(utterance)
        seen[plain] += 1
        identity = plain if seen[plain] == 1 else f"{plain} ({seen[plain]})"
        found.append(Clip(identity, audio, utterance.text, chapter(utterance), _book(utterance)))
    return found


def nothing_to_do(data: ProjectData) -> JobResult:
    """The result of a job that found no verse to transcribe."""
    return JobResult(
        summary="No verse with a recording is waiting for a transcription.",
        facts=_facts((), 0, data),
    )


def publish(
    context: JobContext,
    callbacks: JobCallbacks,
    data: ProjectData,
    heard: Sequence[Heard],
    earlier: Sequence[Part] = (),
) -> JobResult:
    """Hand texts and the report over, and sum up; `earlier` parts of the job open the report."""
    with callbacks.stage(Stage.UPLOAD):
        written = _write_texts(callbacks, heard)
        _write_report(context, callbacks, heard)
        summary = _summary(heard, written)
        publish_report(context, callbacks, summary, (*earlier, _verses(heard)))
    return JobResult(summary=summary, facts=_facts(heard, written, data))


def _summary(heard: Sequence[Heard], written: int) -> str:
    to_check = sum(bool(item.flags) for item in heard)
    unusable = sum(item.problem is not None for item in heard)
    notes = [f"Transcribed {written} of {len(heard)} recordings."]
    if to_check:
        notes.append(f"{to_check} should be checked first (see {REPORT}).")
    if unusable:
        notes.append(f"{unusable} could not be used.")
    return " ".join(notes)


def _verses(heard: Sequence[Heard]) -> Table:
    """Every verse with what was made of it, the least certain first."""
    worst_first = sorted(heard, key=lambda item: item.confidence)
    rows = [
        (
            name(item.utterance),
            Number(item.confidence, 2),
            ", ".join(item.flags) or item.problem or "",
            item.text,
        )
        for item in worst_first[:MOST_ROWS]
    ]
    left = len(heard) - len(rows)
    rest = f"{left} more verses are in {REPORT}." if left else ""
    return Table("Verses", ("verse", "confidence", "remarks", "text"), rows, rest)


def _write_texts(callbacks: JobCallbacks, heard: Iterable[Heard]) -> int:
    """Hand recognised texts over, one call per notebook; returns how many."""
    by_notebook: dict[str, list[SetText]] = {}
    for item in heard:
        if item.text:
            utterance = item.utterance
            change = SetText(utterance.cell_id, item.text, utterance.take_id, utterance.listed)
            by_notebook.setdefault(utterance.notebook, []).append(change)
    for notebook, changes in by_notebook.items():
        callbacks.update_codex_file(notebook, changes)
    return sum(map(len, by_notebook.values()))


def _write_report(context: JobContext, callbacks: JobCallbacks, heard: Sequence[Heard]) -> None:
    """Leave text, confidence and flags of every verse in the job's folder, worst first."""
    path = callbacks.get_work_dir() / REPORT
    header = ("verse", "confidence", "flags", "problem", "text", "uncorrected", "cell")
    rows = (
        (
            name(item.utterance),
            f"{item.confidence:.3f}",
            ", ".join(item.flags),
            item.problem or "",
            item.text,
            item.uncorrected,
            item.utterance.cell_id,
        )
        for item in sorted(heard, key=lambda item: item.confidence)
    )
    write_table(path, header, rows)
    callbacks.upload_files_batch({f"{context.folder}/{REPORT}": path})


def _facts(heard: Sequence[Heard], written: int, data: ProjectData) -> Mapping[str, Any]:
    """Plain values for the job's response."""
    unusable = [f"{name(item.utterance)}: {item.problem}" for item in heard if item.problem]
    left_out = [f"{skip.reference or skip.cell_id}: {skip.reason}" for skip in data.skipped]
    confident = [item.confidence for item in heard if item.text]
    return {
        "verses_transcribed": written,
        "verses_to_check": sum(bool(item.flags) for item in heard),
        "mean_confidence": round(sum(confident) / max(len(confident), 1), 3),
        "verses_skipped": len(unusable) + len(left_out),
        "skipped": (unusable + left_out)[:MOST_NAMED],
    }
