"""Apply a transcript's corrections to its subtitles, without moving a single time.

A change is looked for by its words and by what stands around it, because the subtitles break the same
words into other lines. What cannot be found is listed, never guessed. Knows no language model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pysubs2
from pydantic import BaseModel, TypeAdapter, ValidationError
from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from pipelines.errors import PipelineError
from pipelines.llm.refined_files import CONTEXT
from pipelines.whole_file import write_whole

_LINE_BREAK = "\\N"
"""How pysubs2 writes a line break within a cue."""
_GAP = r"\s+"
_EDGED = r"[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
"""A letter of a script that sets words apart: not Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


class Correction(BaseModel):
    """A change as the changes file holds it."""

    original: str
    corrected: str
    reason: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """A correction in the subtitles: the first cue it touched (from 1), its text before and after."""

    cue: int
    original: str
    corrected: str
    reason: str
    text_before: str
    text_after: str


@dataclass(frozen=True, slots=True)
class CorrectedSubtitles:
    """The written files, what was applied and what was not found."""

    srt_path: Path
    changes_path: Path
    applied: tuple[Applied, ...]
    not_found: tuple[Correction, ...]


def correct_subtitles(
    changes_path: Path, srt_path: Path, output_path: Path | None = None
) -> CorrectedSubtitles:
    """Write `<name>_refined.srt` and `<name>_refined_changes.json` beside a subtitle file.

    Raises:
        PipelineError: the changes file is not one.
    """
    corrections = _read(changes_path)
    subtitles = pysubs2.load(str(srt_path), encoding="utf-8")
    rows = [
        Row(number, text)
        for number, cue in enumerate(subtitles, start=1)
        for text in cue.text.split(_LINE_BREAK)
    ]
    applied, not_found = apply_corrections(rows, corrections)
    for number, cue in enumerate(subtitles, start=1):
        kept = [row.text for row in rows if row.cue == number and row.text]
        cue.text = _LINE_BREAK.join(kept)
    subtitles.events = [cue for cue in subtitles if cue.text]
    target = output_path or srt_path.with_name(f"{srt_path.stem}_refined.srt")
    write_whole(target, subtitles.to_string("srt"))
    listed = target.with_name(f"{target.stem}_changes.json")
    write_whole(
        listed, json.dumps(_report(applied, not_found), ensure_ascii=False, indent=2) + "\n"
    )
    return CorrectedSubtitles(target, listed, applied, not_found)


@dataclass(slots=True)
class Row:
    """One line on the screen; `text` changes in place."""

    cue: int
    text: str


def apply_corrections(
    rows: Sequence[Row], corrections: Sequence[Correction]
) -> tuple[tuple[Applied, ...], tuple[Correction, ...]]:
    """Change rows in place, in the order of the corrections, which is the order of the text."""
    applied: list[Applied] = []
    not_found: list[Correction] = []
    earliest = 0
    for correction in corrections:
        flat = " ".join(row.text for row in rows)
        span = _find(flat, correction, earliest)
        if span is None:
            not_found.append(correction)
            continue
        applied.append(_replace(rows, span, correction))
        earliest = span[0]
    return tuple(applied), tuple(not_found)


def _find(flat: str, correction: Correction, earliest: int) -> tuple[int, int] | None:
    """The place whose surroundings fit best; among equals the first one not before the last change."""
    words = [re.escape(word) for word in correction.original.split()]
    if not words:
        return None
    pattern = re.compile(rf"(?<!{_EDGED})(?:{_GAP.join(words)})(?!{_EDGED})", re.IGNORECASE)
    places = [match.span() for match in pattern.finditer(flat)]
    return max(
        places,
        key=lambda span: (_likeness(flat, span, correction), span[0] >= earliest, -span[0]),
        default=None,
    )


def _likeness(flat: str, span: tuple[int, int], correction: Correction) -> float:
    before = flat[max(0, span[0] - CONTEXT) : span[0]]
    after = flat[span[1] : span[1] + CONTEXT]
    return round(fuzz.ratio(before, correction.before) + fuzz.ratio(after, correction.after))


def _replace(rows: Sequence[Row], span: tuple[int, int], correction: Correction) -> Applied:
    """Put the new words where the old ones stood; a word keeps the row of the one it replaces."""
    touched: list[tuple[Row, int, int]] = []
    at = 0
    for row in rows:
        start, end = max(span[0] - at, 0), min(span[1] - at, len(row.text))
        if start < end:
            touched.append((row, start, end))
        at += len(row.text) + 1
    old = [row.text for row, _, _ in touched]
    pieces = _share_out(correction.corrected, [row.text[a:b] for row, a, b in touched])
    for (row, start, end), piece in zip(touched, pieces, strict=True):
        row.text = " ".join((row.text[:start] + piece + row.text[end:]).split())
    return Applied(
        cue=touched[0][0].cue,
        original=correction.original,
        corrected=correction.corrected,
        reason=correction.reason,
        text_before=" ".join(old),
        text_after=" ".join(row.text for row, _, _ in touched),
    )


def _share_out(corrected: str, parts: Sequence[str]) -> list[str]:
    """Divide new words among the rows that hold the old ones, by the shortest edit between the two."""
    if len(parts) == 1:
        return [corrected]
    owners = [index for index, part in enumerate(parts) for _ in part.split()]
    old, new = " ".join(parts).split(), corrected.split()
    shares: list[list[str]] = [[] for _ in parts]
    for step in Levenshtein.opcodes(old, new):
        for offset, word in enumerate(new[step.dest_start : step.dest_end]):
            place = min(step.src_start + offset, max(step.src_start, step.src_end - 1))
            shares[owners[min(place, len(owners) - 1)]].append(word)
    return [" ".join(share) for share in shares]


def _read(path: Path) -> list[Correction]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(list[Correction]).validate_python(content["changes"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise PipelineError(f"{path.name} is not a changes file of a refinement") from error


def _report(applied: Sequence[Applied], not_found: Sequence[Correction]) -> dict[str, Any]:
    return {
        "summary": {"changes": len(applied), "not_found": len(not_found)},
        "changes": [asdict(one) for one in applied],
        "not_found": [one.model_dump() for one in not_found],
    }
