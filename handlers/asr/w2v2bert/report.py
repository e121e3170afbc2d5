"""What the training of a recogniser says in the job's report, on verses that it had not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gitlab_jobs.callbacks import ProjectData
from pipelines.asr.corrector.proof import Proof
from pipelines.asr.w2v2bert.held_out import (
    HeldOutVerse,
    by_book,
    confusions,
    reliability,
    word_reliability,
)
from pipelines.asr.w2v2bert.train import TrainResult
from pipelines.report.audio import Samples
from pipelines.report.curve import Curve, Series, read_curve
from pipelines.report.diff import compare
from pipelines.report.parts import Cell, Comparison, Facts, Number, Part, Table

LOSSES = {"train_total_loss": "training", "val_total_loss": "verses it had not seen"}
RATES = {"train_cer": "training", "val_cer": "verses it had not seen"}
MOST_VERSES, MOST_CONFUSIONS, MOST_LEFT_OUT = 40, 20, 300


def of_training(result: TrainResult, data: ProjectData, audio: Mapping[str, Path]) -> list[Part]:
    """Tell how a recogniser was trained and what it gets wrong; `audio` by clip id."""
    parts = (
        _facts(result),
        read_curve(result.metrics_csv, "Learning curve: loss", LOSSES),
        read_curve(result.metrics_csv, "Learning curve: character error rate", RATES),
        _books(result.held_out),
        _worst(result.held_out, audio),
        _confusions(result.held_out),
        _reliability("Is the confidence right?", "letters", tuple(reliability(result.held_out))),
        _reliability("And that of words?", "words", tuple(word_reliability(result.words))),
        _left_out(result, data),
    )
    return [part for part in parts if part is not None]


def _facts(result: TrainResult) -> Facts:
    proof = result.proof
    items: list[tuple[str, Cell]] = [
        ("recordings", Number(result.training_clips)),
        ("speech", Number(result.speech_s / 60, 1, " min")),
        ("best after epoch", Number(result.best_epoch)),
        ("characters wrong in training verses", _percent(result.train_cer)),
        ("verses kept back to measure", Number(result.validation_clips)),
        ("characters wrong there", _percent(result.validation_cer)),
        ("words wrong there", _percent(result.validation_wer)),
        ("characters wrong without the language model", _percent(result.greedy_cer)),
        ("as written, wrong without a corrector", _percent(proof.cer_before)),
        ("as written, wrong with a corrector", _percent(proof.cer_after)),
        ("corrector", _fate(proof)),
        ("rank correlation of confidence with errors", _plain(result.confidence_correlation)),
    ]
    return Facts("Training", items)


def _books(verses: Sequence[HeldOutVerse]) -> Table | None:
    rows = [
        (book, Number(count), _percent(rates.cer), _percent(rates.wer))
        for book, count, rates in by_book(verses)
    ]
    columns = ("book", "verses", "characters wrong", "words wrong")
    return Table("Verses kept back, by book", columns, rows) if rows else None


def _worst(verses: Sequence[HeldOutVerse], audio: Mapping[str, Path]) -> Table | None:
    samples = Samples()
    worst = sorted(verses, key=lambda verse: -verse.cer)[:MOST_VERSES]
    rows = [
        (
            verse.id,
            samples.take(audio[verse.id], verse.id) if verse.id in audio else None,
            _percent(verse.cer),
            Number(verse.confidence, 2),
            Comparison(compare(verse.said, verse.heard)),
        )
        for verse in worst
    ]
    columns = ("verse", "sample", "characters wrong", "confidence", "said and heard")
    return Table("Verses kept back, the worst first", columns, rows) if rows else None


def _confusions(verses: Sequence[HeldOutVerse]) -> Table | None:
    rows = [
        (said or "nothing", heard or "nothing", Number(times))
        for (said, heard), times in confusions(verses)[:MOST_CONFUSIONS]
    ]
    return Table("What is taken for what", ("said", "heard", "times"), rows) if rows else None


def _reliability(title: str, what: str, points: Sequence[tuple[float, float]]) -> Curve | None:
    """Where the line rises like its axis, confidence means what it says."""
    if len(points) < 2:
        return None
    wanted = tuple((x, x) for x, _ in points)
    series = (Series(f"share of {what} right", tuple(points)), Series("as promised", wanted))
    return Curve(title, series, x_label="confidence")


def _left_out(result: TrainResult, data: ProjectData) -> Table | None:
    reasons = [(clip.id, clip.reason) for clip in result.skipped]
    reasons += [(skip.reference or skip.cell_id, skip.reason) for skip in data.skipped]
    left = len(reasons) - MOST_LEFT_OUT
    rest = f"And {left} more." if left > 0 else ""
    title = "Recordings that were not used"
    return Table(title, ("verse", "why"), reasons[:MOST_LEFT_OUT], rest) if reasons else None


def _fate(proof: Proof) -> str | None:
    """None where there was none to judge."""
    if proof.cer_after is None:
        return None
    return "in use" if proof.corrector else "left out: it does not help"


def _percent(rate: float | None) -> Number | None:
    return None if rate is None else Number(100 * rate, 1, " %")


def _plain(value: float | None) -> Number | None:
    return None if value is None else Number(value, 2)
