"""The demo's judge of spoken verses: it passes what is right, and names every way to be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sound import tone

from demo import world
from demo.listening import POINTER, judge_speech
from demo.project import NOTEBOOKS, cell_id, make_project
from pipelines.audio.encode import encode

CLIPS = Path(__file__).parent.parent / "data" / "speech"
BOOK = "files/target/XXD.codex"
RATE_HZ = 48_000


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> Path:
    """The demo's project as it is, and as a good job leaves it."""
    root = tmp_path_factory.mktemp("demo")
    make_project(CLIPS, root / "before")
    shutil.copytree(root / "before", root / "after")
    speak(root / "after")
    return root


@pytest.fixture
def after(projects, tmp_path) -> Path:
    """A copy of the good result, to be spoilt."""
    return Path(shutil.copytree(projects / "after", tmp_path / "after"))


def speak(clone: Path) -> None:
    """Add takes as a job does: pointers, attachments, selection and the job's table."""
    lines = ["verse\tseconds\ttries\tcer\tflags\tproblem\ttext\tcell"]
    references = world.unspoken_verses()
    for number in range(1, len(NOTEBOOKS["XXD"][1]) + 1):
        reference = f"XXD 1:{number}"
        problem = "" if reference in references else "nobody said how to read 1 5"
        lines.append(f"{reference}\t2.0\t1\t\t\t{problem}\t{'x' * 28}\t{cell_id(reference)}")
        if reference in references:
            change(clone, number, lambda cell: add_take(clone, cell))
    table = clone / "gpu_jobs" / f"job_{world.SPEAKING_JOB}" / "speech.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")


def add_take(clone: Path, cell: dict[str, Any]) -> None:
    """One take of a cell, selected."""
    take_id = f"audio-{cell['metadata']['id']}-new"
    name = f"XXD/{take_id}.webm"
    takes = cell["metadata"].setdefault("attachments", {})
    takes[take_id] = {"url": f".project/attachments/files/{name}"}
    cell["metadata"]["selectedAudioId"] = take_id
    pointer = clone / ".project" / "attachments" / "pointers" / name
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.write_bytes(POINTER + b"oid sha256:00\nsize 1\n")


def change(clone: Path, number: int, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the cell of a verse."""
    path = clone / BOOK
    notebook = json.loads(path.read_text("utf-8"))
    wanted = cell_id(f"XXD 1:{number}")
    edit(next(cell for cell in notebook["cells"] if cell["metadata"]["id"] == wanted))
    path.write_text(json.dumps(notebook), "utf-8")


def sound_of(tmp_path: Path, seconds: float) -> bytes:
    """A recording of some length."""
    encode(tone(seconds, RATE_HZ), RATE_HZ, tmp_path / "sound.webm", "webm")
    return (tmp_path / "sound.webm").read_bytes()


def judged(projects: Path, after: Path, sound: bytes) -> list[str]:
    """What the judge finds wrong."""
    problems: list[str] = []
    judge_speech(projects / "before", after, lambda _: sound, problems)
    return problems


def test_takes_as_they_should_be_pass(projects, after, tmp_path):
    """Four spoken and measured, one left out with its reason, four files added."""
    problems: list[str] = []
    sound = sound_of(tmp_path, 2.0)
    rows, added = judge_speech(projects / "before", after, lambda _: sound, problems)
    assert problems == []
    assert [row.seconds for row in rows] == [pytest.approx(2.0, abs=0.1)] * 4 + [None]
    assert [row.verdict for row in rows] == ["good"] * 4 + ["nobody said how to read 1 5"]
    assert len(added) == 4
    assert all((after / path).is_file() for path in added)


def drop_selection(cell: dict[str, Any]) -> None:
    """As if nobody had chosen the take."""
    del cell["metadata"]["selectedAudioId"]


def second_take(cell: dict[str, Any]) -> None:
    """As if the job had run twice."""
    takes = cell["metadata"]["attachments"]
    takes["again"] = dict(next(iter(takes.values())))


@pytest.mark.parametrize(
    ("number", "edit", "problem"),
    [
        (1, lambda cell: cell.update(value="other words"), "XXD 1:1 was changed beyond its take"),
        (2, drop_selection, "XXD 1:2 has 1 takes and none selected"),
        (3, second_take, "XXD 1:3 has 2 takes"),
        (4, lambda cell: cell["metadata"].pop("attachments"), "XXD 1:4 has 0 takes"),
    ],
)
def test_a_cell_that_is_not_as_it_should_be_is_named(
    projects, after, tmp_path, number, edit, problem
):
    """One wrong cell is one sentence about it."""
    change(after, number, edit)
    problems = judged(projects, after, sound_of(tmp_path, 2.0))
    assert any(found.startswith(problem) for found in problems), problems


def test_sound_that_is_none_or_implausible_is_named(projects, after, tmp_path):
    """Whatever the pointer promises."""
    assert any("does not play" in line for line in judged(projects, after, b"no sound"))
    assert any("takes 9.0 s" in line for line in judged(projects, after, sound_of(tmp_path, 9.0)))


def test_raw_audio_in_place_of_a_pointer_is_named(projects, after, tmp_path):
    """It would be in everybody's clone for ever."""
    sound = sound_of(tmp_path, 2.0)
    for path in after.glob(".project/attachments/pointers/XXD/*"):
        path.write_bytes(sound)
    assert "the take of XXD 1:1 is not one LFS pointer" in judged(projects, after, sound)


def test_a_job_that_spoke_nothing_is_named(projects, tmp_path):
    """No table, no takes."""
    problems = judged(projects, projects / "before", b"")
    assert "spoken were none" in problems
