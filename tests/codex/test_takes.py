"""Takes: which one counts, and where its file is.

Numbers in test names are the interop cases of the job protocol.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.codex_builders import Json, cell, recorded, take

from gitlab_jobs.codex.cells import Cell
from gitlab_jobs.codex.takes import (
    Pointers,
    is_selection_cleared,
    normalized_url,
    pointer_path,
    segment_of,
    selected_take,
    take_id_of,
    take_id_prefix,
    take_url,
    takes_of,
)

TAKE_PATH = ".project/attachments/pointers/MAT/audio-1.webm"


def view(json: Json) -> Cell:
    """A cell on its own."""
    return Cell("files/target/MAT.codex", 0, json)


def selected_id(json: Json) -> str | None:
    """The id of the take that counts."""
    chosen = selected_take(view(json))
    return None if chosen is None else chosen.id


def test_what_a_take_tells() -> None:
    """Times, maker, validation, and the part of the file that is meant."""
    attachments = take("t", 7, createdBy="bob", validatedBy=["eve"], startTime=1.5, endTime=None)
    (seen,) = takes_of(view(cell("a", attachments=attachments))).values()
    assert (seen.id, seen.created_at, seen.created_by, seen.validators) == ("t", 7, "bob", {"eve"})
    assert (seen.start_s, seen.end_s) == (1.5, None)


def test_takes_of_old_and_odd_files() -> None:
    """A plain url is a take; other types and junk are not."""
    attachments: Any = {
        "old": ".project/attachments/MAT/old.webm",
        "bare": {"url": "x", "type": "audio"},
        "image": {"url": "y.png", "type": "image"},
        "junk": 7,
        "empty": {},
    }
    found = takes_of(view(cell("a", attachments=attachments)))
    assert list(found) == ["old", "bare", "empty"]
    assert found["old"].url == ".project/attachments/MAT/old.webm"
    assert (found["bare"].created_at, found["bare"].is_deleted, found["bare"].created_by) == (
        0,
        False,
        None,
    )
    for nothing in ({}, None, [], "x"):
        assert takes_of(view(cell("a", attachments=nothing))) == {}


def test_case_43_only_a_selected_living_take_counts() -> None:
    """As the plugin counts: not the newest, not a deleted one; `isMissing` is a mere hint."""
    two = {**take("t1", 1), **take("t2", 2)}
    assert selected_id(cell("a", attachments=two, selectedAudioId="t1")) == "t1"
    assert selected_id(cell("a", attachments=two)) is None
    assert selected_id(cell("a", attachments=two, selectedAudioId="")) is None
    assert selected_id(cell("a", attachments=two, selectedAudioId="gone")) is None
    assert selected_id(cell("a", attachments=two, selectedAudioId=None)) is None
    assert (
        selected_id(cell("a", attachments=take("t", isDeleted=True), selectedAudioId="t")) is None
    )
    assert selected_id(cell("a", attachments=take("t", isMissing=True), selectedAudioId="t")) == "t"
    assert selected_id(cell("a", selectedAudioId="t")) is None


def test_a_cleared_selection_is_a_decision() -> None:
    """An empty name was chosen by a person, a missing one by nobody."""
    assert is_selection_cleared(view(cell("a", selectedAudioId="")))
    assert not is_selection_cleared(view(cell("a")))
    assert not is_selection_cleared(view(recorded("a")))


@pytest.mark.parametrize(
    "url",
    [
        ".project/attachments/files/MAT/audio-1.webm",
        ".project/attachments/pointers/MAT/audio-1.webm",
        ".project/attachments/MAT/audio-1.webm",
        ".project\\attachments\\files\\MAT\\audio-1.webm",
        "./.project/attachments/files/MAT/audio-1.webm",
        "C:\\Users\\x\\proj\\.project\\attachments\\files\\MAT\\audio-1.webm",
        "/home/x/proj/.project/attachments/files/MAT/audio-1.webm",
    ],
)
def test_urls_of_all_times_find_the_pointer(url: str) -> None:
    """Whatever an editor wrote, the file in git is found."""
    assert normalized_url(url) == ".project/attachments/files/MAT/audio-1.webm"
    assert Pointers([TAKE_PATH]).find(url) == TAKE_PATH


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/.project/attachments/files/MAT/audio-1.webm",
        "data:audio/webm;base64,AAAA/.project/attachments/x",
        ".project/attachments/files/../../../etc/passwd",
        "audio-1.webm",
        "",
    ],
)
def test_urls_outside_the_project_find_nothing(url: str) -> None:
    """Remote, inline and climbing urls are not looked for."""
    assert normalized_url(url) is None
    assert Pointers([TAKE_PATH]).find(url) is None


def test_the_likeliest_place_wins() -> None:
    """Pointer twin, then the url itself, then the place of very old projects, then the name alone."""
    url = ".project/attachments/files/MAT/audio-1.webm"
    old = ".project/attachments/MAT/audio-1.webm"
    moved = ".project/attachments/pointers/OLD/audio-1.webm"
    paths = [moved, old, url, TAKE_PATH]
    for expected in (TAKE_PATH, url, old, moved):
        assert Pointers(paths).find(url) == expected
        paths.remove(expected)
    assert Pointers(paths).find(url) is None


def test_two_files_of_one_name_are_no_answer() -> None:
    """A guess could speak another verse with this cell's voice."""
    same = [f".project/attachments/pointers/{book}/audio-1.webm" for book in ("MRK", "LUK")]
    assert Pointers(same).find(".project/attachments/files/MAT/audio-1.webm") is None
    outside = ["files/audio-1.webm", "gpu_jobs/audio-1.webm"]
    assert Pointers(outside).find(".project/attachments/files/MAT/audio-1.webm") is None


def test_names_of_new_takes() -> None:
    """Folder by notebook, id like the recorder's, url under `files/`, pointer beside it."""
    notebook = "files/target/deep/49GALBSB.codex"
    prefix = take_id_prefix("GEN 1:1", notebook, "job", 1768924196390)
    take_id = take_id_of(prefix, "0" * 64)
    assert segment_of(notebook) == "49GALBSB"
    assert take_id.startswith("audio-gen-1-1-1768924196390-")
    assert len(take_id) == len("audio-gen-1-1-1768924196390-k3j9x0abc")
    url = take_url(notebook, take_id, "webm")
    assert url == f".project/attachments/files/49GALBSB/{take_id}.webm"
    assert pointer_path(url) == f".project/attachments/pointers/49GALBSB/{take_id}.webm"


def test_case_46_ids_tell_cells_jobs_and_content_apart() -> None:
    """Two cells with one reference, two jobs, two versions of the audio: different files."""
    one = take_id_prefix("a", "files/target/A.codex", "job", 1)
    others = {
        take_id_prefix("b", "files/target/A.codex", "job", 1),
        take_id_prefix("a", "files/target/B.codex", "job", 1),
        take_id_prefix("a", "files/target/A.codex", "job2", 1),
    }
    assert one not in others
    assert len(others) == 3
    assert take_id_of(one, "0" * 64) != take_id_of(one, "1" * 64)
    assert one == take_id_prefix("a", "files/target/A.codex", "job", 1)
