"""What a job on a voice says in its report: how it learned, what it spoke, and what it left out.

Knows how results are told; knows no model and no HTML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from gitlab_jobs.callbacks import ProjectData, Skipped
from handlers.corpus import name
from handlers.tts.stabletts.delivery import TABLE, Speaking, Take
from pipelines.report.audio import Samples
from pipelines.report.curve import read_curve
from pipelines.report.diff import compare
from pipelines.report.parts import (
    Badge,
    Cell,
    Comparison,
    Facts,
    Lines,
    Notes,
    Number,
    Part,
    Table,
    Tone,
)
from pipelines.tts.stabletts.base import WITHOUT_WEIGHTS
from pipelines.tts.stabletts.train import TrainResult
from pipelines.tts.stabletts.vocabulary import Coverage, cover, visible

MOST_ROWS = 300
"""Rows of a table on the page; a whole Bible would make it too heavy for a repository."""
MOST_SIGNS = 40
MOST_MARKED = 0.5
"""Where more than this was heard otherwise, marks in the text would only confuse."""
CURVES = {"train_total_loss": "training", "val_total_loss": "verses it had not heard"}
_NO_WEIGHTS = "This worker has no vocoder weights, so everything sounds metallic."


def of_training(result: TrainResult, data: ProjectData) -> list[Part]:
    """Tell how a voice was trained."""
    texts = {str(number): text for number, text in enumerate(data.project_texts)}
    covered = cover(result.vocabulary, texts)
    facts: list[tuple[str, Cell]] = [
        ("recordings", Number(result.training_clips)),
        ("speech", Number(result.speech_s / 60, 1, " min")),
        ("verses kept back to measure", Number(result.validation_clips)),
        ("best after epoch", Number(result.best_epoch)),
        ("loss there", Number(result.validation_loss, 3) if result.validation_clips else None),
        ("voice to imitate", result.reference),
        ("chosen because", result.reference_why or None),
        ("characters of all texts that it knows", Number(100 * covered.share, 1, " %")),
        ("those that it does not know", _most_frequent(covered) or None),
    ]
    unusable = [Skipped(clip.id, None, clip.reason) for clip in result.skipped]
    curve = read_curve(result.metrics_csv, "Learning curve", CURVES)
    left_out = _left_out("Recordings that were not used", [*unusable, *data.skipped])
    parts = (Facts("Training", facts), curve, left_out)
    return [part for part in parts if part is not None]


def of_speaking(takes: Sequence[Take], speaking: Speaking, data: ProjectData) -> list[Part]:
    """Tell what was spoken."""
    warnings = [_NO_WEIGHTS] if speaking.vocoder == WITHOUT_WEIGHTS else []
    warnings += speaking.coverage.warnings()
    notes = Notes("Please note", warnings) if warnings else None
    left_out = _left_out("Verses that were not asked for or not ready", data.skipped)
    parts = (_facts(takes, speaking), notes, _verses(takes), _unknown(speaking.coverage), left_out)
    return [part for part in parts if part is not None]


def _facts(takes: Sequence[Take], speaking: Speaking) -> Facts:
    errors = [take.cer for take in takes if take.cer is not None]
    spoken_s = sum(take.audio.duration_s for take in takes if take.audio)
    return Facts(
        "Speaking",
        [
            ("verses spoken", f"{sum(take.audio is not None for take in takes)} of {len(takes)}"),
            ("in all", Number(spoken_s / 60, 1, " min")),
            ("voice to imitate", speaking.reference.id),
            ("chosen because", speaking.reference.why or None),
            ("characters that the voice knows", Number(100 * speaking.coverage.share, 1, " %")),
            ("vocoder", speaking.vocoder),
            ("heard otherwise", Number(100 * _mean(errors), 1, " %") if errors else None),
        ],
    )


def _verses(takes: Sequence[Take]) -> Table:
    """Every verse, what needs a person first; a few can be heard."""
    samples = Samples()
    shown = sorted(takes, key=lambda take: take.worst_first)[:MOST_ROWS]
    left = len(takes) - len(shown)
    return Table(
        "Verses",
        ("verse", "sample", "seconds", "verdict", "remarks", "seeds tried", "CER", "text"),
        [_row(take, samples) for take in shown],
        f"{left} more verses are in {TABLE}." if left else "",
    )


def _row(take: Take, samples: Samples) -> tuple[Cell, ...]:
    label = name(take.utterance)
    return (
        label,
        samples.take(take.audio.path, label) if take.audio else None,
        Number(take.audio.duration_s if take.audio else None, 1),
        _verdict(take),
        "; ".join(filter(None, (take.problem, *take.flags))),
        Number(take.tries),
        Number(take.cer, 2),
        _text(take),
    )


def _text(take: Take) -> Cell:
    """What was to be said; with what was heard, if somebody listened."""
    said, heard = take.utterance.text, take.heard
    if heard is None:
        return said
    if (take.cer or 0.0) > MOST_MARKED:
        return Lines((said, f"heard: {heard}"))
    return Comparison(compare(said, heard))


def _verdict(take: Take) -> Badge:
    if take.audio is None:
        return Badge("left out", Tone.BAD)
    return Badge("listen first", Tone.CHECK) if take.flags else Badge("good", Tone.GOOD)


def _unknown(coverage: Coverage) -> Table | None:
    """Name the characters that cannot be spoken, the most frequent first."""
    found = [*_counted(coverage.unknown, "unknown"), *_counted(coverage.digits, "number")]
    columns = ("character", "code point", "kind", "times")
    return Table("Characters that cannot be spoken", columns, found) if found else None


def _most_frequent(coverage: Coverage) -> str:
    """List what cannot be spoken, the most frequent first; a few dozen say enough."""
    signs = Counter(coverage.unknown) + Counter(coverage.digits)
    return " ".join(visible(sign) for sign, _ in signs.most_common(MOST_SIGNS))


def _counted(signs: Mapping[str, int], kind: str) -> Iterator[tuple[Cell, ...]]:
    for sign, times in sorted(signs.items(), key=lambda item: (-item[1], item[0])):
        codes = " ".join(f"U+{ord(part):04X}" for part in sign)
        yield visible(sign), codes, kind, Number(times)


def _left_out(title: str, skipped: Sequence[Skipped]) -> Table | None:
    rows = [(skip.reference or skip.cell_id, skip.reason) for skip in skipped[:MOST_ROWS]]
    left = len(skipped) - len(rows)
    rest = f"And {left} more." if left else ""
    return Table(title, ("verse", "why"), rows, rest) if rows else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
