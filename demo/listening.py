"""Judges what was spoken in the demo: which cells got a take, whether it plays, and how good it is said to be.

Like `verdict`, it reads clones as plain JSON, and sound as a browser would get it.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import world
from demo.project import NOTEBOOKS
from pipelines.audio.decode import decode
from pipelines.errors import AudioUnreadable

CHARACTERS_PER_S = 14.0
"""Of somebody who reads English aloud."""
PLAUSIBLE = (0.3, 3.0)
"""How much shorter or longer a take may be than a reader would need."""
POINTER = b"version https://git-lfs.github.com/spec/v1\n"

Fetch = Callable[[str], bytes]
Cells = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Spoken:
    """One verse that was to be spoken; `seconds` is measured, None if nothing was published."""

    reference: str
    text: str
    seconds: float | None
    verdict: str
    tries: str
    cer: str


def judge_speech(
    before: Path, after: Path, fetch: Fetch, problems: list[str]
) -> tuple[list[Spoken], set[str]]:
    """Return a row per verse of the job's table, and the files that it may have added.

    Args:
        before: a clone from before the jobs.
        after: a clone from after them.
        fetch: gets the sound of a repository path from the project's page.
        problems: gets a sentence for everything that is wrong.
    """
    book = world.SPOKEN[0]
    said = {row["cell"]: row for row in _table(after)}
    old, new = cells(before, book), cells(after, book)
    rows, added = [], set()
    for identity, cell in new.items():
        if identity not in said:
            if cell != old.get(identity):
                problems.append(f"a cell of {book} that was not to be spoken was changed")
            continue
        (reference,) = cell["metadata"]["data"]["globalReferences"]
        path = _take(old[identity], cell, reference, problems)
        seconds = _listen(after, path, fetch, reference, problems) if path else None
        added |= {path} if path else set()
        rows.append(_row(reference, said[identity], seconds, problems))
    done = [row.reference for row in rows if row.seconds]
    if done != world.unspoken_verses():
        problems.append(f"spoken were {', '.join(done) or 'none'}")
    if len(rows) != len(NOTEBOOKS[book][1]):
        problems.append(f"the table of spoken verses has {len(rows)} rows")
    return rows, added


def cells(clone: Path, book: str) -> dict[str, dict[str, Any]]:
    """The cells of a notebook by id."""
    text = (clone / "files" / "target" / f"{book}.codex").read_text(encoding="utf-8")
    return {cell["metadata"]["id"]: cell for cell in json.loads(text)["cells"]}


def _take(
    old: dict[str, Any], new: dict[str, Any], reference: str, problems: list[str]
) -> str | None:
    """Find the pointer of a cell's new take; a selected take is all that may have been added."""
    metadata = dict(new["metadata"])
    takes = metadata.pop("attachments", {})
    selected = metadata.pop("selectedAudioId", None)
    metadata.pop("selectionTimestamp", None)
    if {**new, "metadata": metadata} != old:
        problems.append(f"{reference} was changed beyond its take")
    if list(takes) != ([selected] if selected else []):
        problems.append(f"{reference} has {len(takes)} takes and {selected or 'none'} selected")
    urls = [take["url"] for take in takes.values()]
    return urls[0].replace("/files/", "/pointers/", 1) if urls else None


def _listen(
    clone: Path, path: str, fetch: Fetch, reference: str, problems: list[str]
) -> float | None:
    """Play a take from its pointer to its end."""
    pointer = clone / path
    if not pointer.is_file() or not pointer.read_bytes().startswith(POINTER):
        problems.append(f"the take of {reference} is not one LFS pointer")
        return None
    with tempfile.TemporaryDirectory() as directory:
        sound = Path(directory) / "take"
        sound.write_bytes(fetch(path))
        try:
            return decode(sound).duration_s
        except AudioUnreadable as error:
            problems.append(f"the take of {reference} does not play: {error.reason}")
            return None


def _row(
    reference: str, said: Mapping[str, str], seconds: float | None, problems: list[str]
) -> Spoken:
    expected_s = len(said["text"]) / CHARACTERS_PER_S
    shortest, longest = PLAUSIBLE
    if seconds and not shortest < seconds / expected_s < longest:
        problems.append(f"{reference} takes {seconds:.1f} s, a reader about {expected_s:.1f} s")
    verdict = said["problem"] or said["flags"] or "good"
    return Spoken(reference, said["text"], seconds, verdict, said["tries"], said["cer"])


def _table(clone: Path) -> Iterator[dict[str, str]]:
    path = clone / "gpu_jobs" / f"job_{world.SPEAKING_JOB}" / "speech.tsv"
    if path.exists():
        with path.open(encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines, dialect="excel-tab")
