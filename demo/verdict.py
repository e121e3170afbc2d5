"""Judges the demo from two clones of the project, before and after, and from nothing else.

Reads `.codex` files as plain JSON on purpose: what the product wrote is checked without its own code.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pysubs2
import yaml

from demo import world
from demo.listening import Fetch, Spoken, cells, judge_speech
from demo.project import NOTEBOOKS, Verse, transcripts
from pipelines.text.metrics import spoken_error_rates

MAX_WHISPER_CER = 0.1
MAX_TRAINING_CER = 0.2
MAX_LOSS_SHARE = 2 / 3
"""Of the loss that a voice begins with, which is that of one who says nothing but the recordings' mean frame."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell that got text; rates against what was really said."""

    reference: str
    before: str
    after: str
    cer: float


@dataclass(slots=True)
class Verdict:
    """What came of the demo; `problems` is empty if everything is right."""

    rows: list[Row] = field(default_factory=list)
    spoken: list[Spoken] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    whisper_cer: float = 1.0
    subtitles: int = 0
    training_cer: list[float] = field(default_factory=list)
    voice_loss: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def judge(before: Path, after: Path, clips_dir: Path, fetch: Fetch) -> Verdict:
    """Compare the project before and after; the clips' transcripts tell what was said.

    `fetch` gets the sound of a repository path as the project's page serves it.
    """
    verdict = Verdict()
    _check_jobs(after, verdict)
    _check_cells(before, after, transcripts(clips_dir), verdict)
    _check_subtitles(after, verdict)
    verdict.spoken, added = judge_speech(before, after, fetch, verdict.problems)
    _check_untouched(before, after, added, verdict)
    _check_recogniser(after, verdict)
    _check_voice(after, verdict)
    return verdict


def _check_jobs(after: Path, verdict: Verdict) -> None:
    for job in world.JOBS:
        path = after / "gpu_jobs" / f"job_{job}" / "response.yaml"
        response = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        state = str(response.get("state", "pending"))
        verdict.states[job] = state
        if state != "completed":
            why = response.get("error_message") or "no reason given"
            verdict.problems.append(f"job {job} is {state}: {why}")
        report = path.with_name("report.html")
        verdict.reports += [report.relative_to(after).as_posix()] if report.exists() else []


def _check_cells(before: Path, after: Path, said_in: Mapping[str, str], verdict: Verdict) -> None:
    expected = set(world.waiting_verses())
    whisper: list[tuple[str, str]] = []
    for book, (_, verses) in NOTEBOOKS.items():
        if book == world.SPOKEN[0]:
            continue
        old, new = cells(before, book), cells(after, book)
        if list(old) != list(new):
            verdict.problems.append(f"{book} has other cells than before")
            continue
        for identity, cell in new.items():
            if cell == old[identity]:
                continue
            reference = cell["metadata"]["data"].get("globalReferences", [identity])[0]
            if reference not in expected:
                verdict.problems.append(f"{reference} was changed, which nobody asked for")
                continue
            expected.discard(reference)
            verse = verses[int(reference.rpartition(":")[2]) - 1]
            assert isinstance(verse, Verse)
            said = said_in[verse.clip]
            rate = spoken_error_rates([said], [cell["value"]]).cer
            verdict.rows.append(Row(reference, old[identity]["value"], cell["value"], rate))
            if book == world.TRANSCRIBED_BY_WHISPER[0]:
                whisper.append((said, cell["value"]))
            _check_edit(cell, reference, verdict)
    verdict.problems += [f"{reference} was left without text" for reference in sorted(expected)]
    if whisper:
        said_all, heard_all = zip(*whisper, strict=True)
        verdict.whisper_cer = spoken_error_rates(said_all, heard_all).cer
    if verdict.whisper_cer > MAX_WHISPER_CER:
        verdict.problems.append(f"Whisper's CER is {verdict.whisper_cer:.2f}")


def _check_subtitles(after: Path, verdict: Verdict) -> None:
    """Whisper's job leaves a subtitle file for every verse that it transcribed, beside its report."""
    folder = after / "gpu_jobs" / f"job_{world.WHISPER_JOB}" / "subtitles"
    verdict.subtitles = sum(bool(len(pysubs2.load(str(path)))) for path in folder.glob("*.srt"))
    transcribed = sum(
        row.reference.startswith(world.TRANSCRIBED_BY_WHISPER[0]) for row in verdict.rows
    )
    if verdict.subtitles != transcribed:
        verdict.problems.append(
            f"{verdict.subtitles} subtitle files for {transcribed} verses that Whisper transcribed"
        )


def _check_edit(cell: dict[str, Any], reference: str, verdict: Verdict) -> None:
    newest = max(cell["metadata"]["edits"], key=lambda edit: edit["timestamp"])
    if newest["editMap"] != ["value"] or newest["value"] != cell["value"]:
        verdict.problems.append(
            f"{reference} has text without an edit: it would be lost in a merge"
        )


def _check_untouched(before: Path, after: Path, added: set[str], verdict: Verdict) -> None:
    """Nothing but the filled notebooks, the new takes and the jobs' own folders may differ."""
    filled = {f"files/target/{book}.codex" for book in ("XXB", "XXC", "XXD")} | added
    old, new = dict(_files(before)), dict(_files(after))
    if gone := added & old.keys():
        verdict.problems.append(f"takes were written over: {', '.join(gone)}")
    for path in sorted(old.keys() | new.keys()):
        own = path.startswith("gpu_jobs/job_")
        if old.get(path) != new.get(path) and path not in filled and not own:
            verdict.problems.append(f"{path} was changed, which nobody asked for")


def _check_recogniser(after: Path, verdict: Verdict) -> None:
    rates = verdict.training_cer = _curve(after, world.TRAINING_JOB, "train_cer", verdict)
    if not rates or rates[-1] >= rates[0] or min(rates) >= MAX_TRAINING_CER:
        verdict.problems.append(f"the training did not learn: CER {rates[:1]} to {rates[-1:]}")


def _check_voice(after: Path, verdict: Verdict) -> None:
    losses = verdict.voice_loss = _curve(after, world.VOICE_JOB, "train_total_loss", verdict)
    if not losses or min(losses) > MAX_LOSS_SHARE * losses[0]:
        verdict.problems.append(f"the voice did not learn: loss {losses[:1]} to {losses[-1:]}")


def _curve(after: Path, job: str, column: str, verdict: Verdict) -> list[float]:
    path = after / "gpu_jobs" / f"job_{job}" / "checkpoint" / "training_metrics.csv"
    if not path.exists():
        verdict.problems.append(f"job {job} left no training_metrics.csv")
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        return [float(row[column]) for row in csv.DictReader(lines) if row.get(column)]


def _files(clone: Path) -> Iterator[tuple[str, bytes]]:
    for path in clone.rglob("*"):
        relative = path.relative_to(clone)
        if path.is_file() and relative.parts[0] != ".git":
            yield relative.as_posix(), path.read_bytes()
