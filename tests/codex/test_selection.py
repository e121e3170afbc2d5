"""Which cells a job works on.

Numbers in test names are the interop cases of the job protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.codex_builders import BOT, cell, edit, notebook, pointers_of, recorded, take

from gitlab_jobs.codex.notebook import Notebook, load_notebook
from gitlab_jobs.codex.selection import (
    Selection,
    select_for_speech,
    select_for_training,
    select_for_transcription,
    texts_by_people,
)
from gitlab_jobs.codex.takes import Pointers
from gitlab_jobs.errors import InvalidJob
from gitlab_jobs.job import VerseFilter

DATA = Path(__file__).parents[1] / "data" / "codex"


EVERYTHING = VerseFilter()


def include(*entries: str) -> VerseFilter:
    """A filter that names what to take."""
    return VerseFilter(include=entries)


def exclude(*entries: str) -> VerseFilter:
    """A filter that names what to leave."""
    return VerseFilter(exclude=entries)


def training(*books: Notebook, only: VerseFilter = EVERYTHING) -> Selection:
    """What a training job learns from, with every pointer in place."""
    return select_for_training(books, only, Pointers(pointers_of(*books)), {BOT})


def transcription(*books: Notebook, only: VerseFilter = EVERYTHING) -> Selection:
    """What an asr inference job transcribes."""
    return select_for_transcription(books, only, Pointers(pointers_of(*books)))


def speech(*books: Notebook, only: VerseFilter = EVERYTHING) -> Selection:
    """What a tts inference job speaks."""
    return select_for_speech(books, only)


def ids(selection: Selection) -> list[str]:
    """The ids of the chosen cells."""
    return [chosen.cell.id for chosen in selection.chosen]


def reasons(selection: Selection) -> dict[str, str]:
    """Why cells were left out."""
    return {skipped.cell_id: skipped.reason for skipped in selection.skipped}


FOUR = notebook(cell("1"), cell("2", "text"), recorded("3"), recorded("4", "text"))


def test_without_a_filter_only_the_unfilled_are_touched() -> None:
    """Training needs both, asr fills missing text, tts fills missing audio; nothing to explain."""
    assert ids(training(FOUR)) == ["4"]
    assert ids(transcription(FOUR)) == ["3"]
    assert ids(speech(FOUR)) == ["2"]
    for selection in (training(FOUR), transcription(FOUR), speech(FOUR)):
        assert (selection.skipped, selection.unmatched) == ((), ())
        assert not any(chosen.listed for chosen in selection.chosen)


def test_excluded_cells_are_left_out() -> None:
    """Whether or not they would have been touched."""
    assert ids(training(FOUR, only=exclude("4"))) == []
    assert ids(transcription(FOUR, only=exclude("3", "1"))) == []
    assert ids(speech(FOUR, only=exclude("MAT 1:2"))) == []
    assert ids(speech(FOUR, only=exclude("1"))) == ["2"]


def test_listed_cells_are_done_again() -> None:
    """A tick is the consent to replace; what cannot be done is explained."""
    every = include("1", "2", "3", "4")
    asr, tts, both = (select(FOUR, only=every) for select in (transcription, speech, training))
    assert ids(asr) == ["3", "4"]
    assert reasons(asr) == {"1": "it has no recording", "2": "it has no recording"}
    assert ids(tts) == ["2", "4"]
    assert reasons(tts) == {"1": "it has no text", "3": "it has no text"}
    assert ids(both) == ["4"]
    assert all(chosen.listed for chosen in (*asr.chosen, *tts.chosen))


def test_include_and_exclude_together() -> None:
    """The include list first, then without what is also excluded."""
    assert ids(speech(FOUR, only=VerseFilter(include=("2", "4"), exclude=("4",)))) == ["2"]


def test_chosen_cells_come_with_take_and_pointer() -> None:
    """So that the audio can be fetched without looking again."""
    (chosen,) = transcription(FOUR).chosen
    assert chosen.take is not None
    assert chosen.take.id == "audio-3"
    assert chosen.pointer_path == ".project/attachments/pointers/MAT/audio-3.webm"
    (spoken,) = speech(FOUR).chosen
    assert (spoken.take, spoken.pointer_path) == (None, None)
    again = speech(FOUR, only=include("4")).chosen[0]
    assert again.take is not None


OLD = notebook(
    recorded("JHN 1:1", "a", ref=None),
    recorded("JHN 1:2", "b", ref=None),
    path="files/target/JHN.codex",
)
NEW = notebook(
    recorded("5e7dadd4-0001", "c", ref="MAT 1:1"),
    recorded("5e7dadd4-0002", "d", ref="MAT 1:2-3"),
    recorded("5e7dadd4-0003", "e", ref="MAT 1:4:1764564500321-k9y"),
    recorded("5e7dadd4-0004", "f", ref="TheShow-101 1:cue-50.6-51.4"),
)


@pytest.mark.parametrize(
    ("entries", "chosen"),
    [
        (["5e7dadd4-0001"], ["5e7dadd4-0001"]),
        (["JHN 1:1"], ["JHN 1:1"]),
        (["MAT 1:1"], ["5e7dadd4-0001"]),
        (["mat 1:1", "jhn 1:2"], ["JHN 1:2", "5e7dadd4-0001"]),
        (["MAT 1:4"], ["5e7dadd4-0003"]),
        (["MAT 1:4:1764564500321-k9y"], ["5e7dadd4-0003"]),
        (["MAT 1:2-3"], ["5e7dadd4-0002"]),
        (["MAT 1:2"], []),
        (["TheShow-101 1:cue-50.6-51.4"], ["5e7dadd4-0004"]),
        (["5E7DADD4-0001"], []),
        (["MAT.1.1"], []),
        (["5e7dadd4-0001", "JHN 1:1", "MAT 1:2-3"], ["JHN 1:1", "5e7dadd4-0001", "5e7dadd4-0002"]),
    ],
)
def test_case_39_ids_and_references_mixed(entries: list[str], chosen: list[str]) -> None:
    """For all three kinds of work, in projects with both kinds of file."""
    for select in (training, transcription, speech):
        selection = select(OLD, NEW, only=include(*entries))
        assert ids(selection) == chosen
        assert len(selection.unmatched) == len(entries) - len(chosen)
    left = training(OLD, NEW, only=exclude(*entries))
    assert set(ids(left)) == {
        "JHN 1:1",
        "JHN 1:2",
        "5e7dadd4-0001",
        "5e7dadd4-0002",
        "5e7dadd4-0003",
    } - set(chosen)


def test_case_40_entries_that_match_nothing() -> None:
    """Some: named for a warning. All: the job is refused in words that name them."""
    some = include("4", "GEN.1.1", "nowhere")
    selection = training(FOUR, only=some)
    assert selection.unmatched == ("GEN.1.1", "nowhere")
    selection.require_matches(some)
    none = include(*(f"X 1:{verse}" for verse in range(1, 13)))
    with pytest.raises(
        InvalidJob, match=r"None of the listed verses .*: X 1:1, .*X 1:10 and 2 more"
    ):
        training(FOUR, only=none).require_matches(none)
    assert training(FOUR, only=exclude("nowhere")).unmatched == ("nowhere",)
    training(FOUR, only=exclude("nowhere")).require_matches(exclude("nowhere"))


DEAD = {
    "milestone": ({"type": "milestone"}, "it is not a verse (milestone)"),
    "paratext": ({"type": "paratext", "parentId": "4"}, "it is not a verse (paratext)"),
    "style": ({"type": "style"}, "it is not a verse (style)"),
    "deleted": ({"data": {"deleted": True}}, "it was deleted"),
    "merged": ({"data": {"merged": True}}, "it was merged into another verse"),
    "hidden": ({"data": {"hidden": True}}, "it is hidden"),
}


@pytest.mark.parametrize("kind", DEAD)
@pytest.mark.parametrize("select", [training, transcription, speech])
def test_case_42_what_is_no_living_verse_is_never_touched(kind: str, select: Any) -> None:
    """Neither in passing nor when the job lists it; then the reason is told."""
    metadata, reason = DEAD[kind]
    for json in (
        cell("x", "text", **metadata),
        recorded("x", **metadata),
        recorded("x", "text", **metadata),
    ):
        book = notebook(recorded("4", "text"), json)
        assert "x" not in ids(select(book))
        assert reasons(select(book)) == {}
        listed = select(book, only=include("x"))
        assert (ids(listed), reasons(listed)) == ([], {"x": reason})


def test_case_43_audio_that_does_not_count() -> None:
    """Deleted or unselected takes are no audio; a take marked missing is, if its pointer exists."""
    book = notebook(
        recorded("deleted", "text", attachments=take("audio-deleted", isDeleted=True)),
        recorded("unselected", "text", selectedAudioId=None),
        recorded("missing", "text", attachments=take("audio-missing", isMissing=True)),
    )
    assert ids(training(book)) == ["missing"]
    assert reasons(training(book)) == {"unselected": "none of its recordings is selected"}
    assert ids(speech(book)) == ["deleted", "unselected"]


def test_a_take_without_its_file_is_nobodys() -> None:
    """It cannot be heard, and it is somebody's recording all the same: tts leaves it alone."""
    book = notebook(recorded("1", "text"), recorded("2"))
    nothing = Pointers([])
    reason = "the selected recording's file has not reached the project yet"
    trained = select_for_training([book], VerseFilter(), nothing)
    assert (ids(trained), reasons(trained)) == ([], {"1": reason, "2": reason})
    assert reasons(select_for_transcription([book], VerseFilter(), nothing)) == {
        "1": reason,
        "2": reason,
    }
    assert ids(speech(book)) == []
    assert ids(speech(book, only=include("1"))) == ["1"]


def test_a_rejected_recording_is_not_replaced_unasked() -> None:
    """Who deselected every take may have wanted silence."""
    book = notebook(recorded("1", "text", selectedAudioId=""))
    assert ids(speech(book)) == []
    assert reasons(speech(book)) == {
        "1": "its recordings were deselected; list the verse to record it anew"
    }
    assert ids(speech(book, only=include("1"))) == ["1"]
    assert (ids(training(book)), reasons(training(book))) == ([], {})


def test_case_45_locked_cells_are_read_but_never_written() -> None:
    """A locked verse is good to learn from."""
    book = notebook(
        recorded("1", "text", isLocked=True),
        recorded("2", isLocked=True),
        cell("3", "t", isLocked=True),
    )
    assert ids(training(book)) == ["1"]
    assert (ids(transcription(book)), reasons(transcription(book))) == ([], {"2": "it is locked"})
    assert (ids(speech(book)), reasons(speech(book))) == ([], {"3": "it is locked"})
    assert ids(speech(book, only=include("1", "3"))) == []


def test_headings_and_children_among_verses() -> None:
    """Only an id asks for them; a reference means the verse itself."""
    book = notebook(
        cell("v", "verse", ref="GEN 1:1"),
        cell("h", "heading", ref=None),
        cell("GEN 1:1:cue-1", "child", ref="GEN 1:1"),
        cell("c", "child", ref="GEN 1:1", parentId="v"),
    )
    assert ids(speech(book)) == ["v"]
    assert ids(speech(book, only=include("GEN 1:1"))) == ["v"]
    assert ids(speech(book, only=include("h", "c", "GEN 1:1:cue-1"))) == ["h", "GEN 1:1:cue-1", "c"]


def test_a_project_without_verses_is_worked_on_whole() -> None:
    """In stories, subtitles and documents "all cells" can only mean these."""
    stories = notebook(
        cell("s1", "Once", ref=None), cell("s2", "upon", ref=None), path="files/target/obs.codex"
    )
    assert ids(speech(stories)) == ["s1", "s2"]
    assert ids(speech(stories, FOUR)) == ["2"]
    assert ids(speech(stories, FOUR, only=include("s1"))) == ["s1"]


def test_training_never_learns_from_machines() -> None:
    """Neither from what this worker made, nor from drafts that nobody confirmed."""
    own = edit("own", 5, kind="llm-generation", by=BOT)
    draft = edit("draft", 5, kind="llm-generation", by="alice")
    book = notebook(
        recorded("person", "said"),
        recorded("own", "own", edits=[own]),
        recorded("confirmed", "own", edits=[{**own, "validatedBy": ["bob"]}]),
        recorded("draft", "draft", edits=[draft]),
        recorded("voice", "said", attachments=take("audio-voice", createdBy=BOT)),
    )
    assert ids(training(book)) == ["person", "confirmed"]
    assert reasons(training(book)) == {
        "own": "its text was written by this worker and nobody has confirmed it",
        "draft": "its text was written by a machine and nobody has confirmed it",
        "voice": "its recording was made by this worker",
    }
    assert ids(training(book, only=include("own", "draft", "voice"))) == ["draft"]
    assert texts_by_people([book], {BOT}) == ("said", "own", "said")


def test_one_recording_teaches_once() -> None:
    """The same verse in two notebooks is edited in both, but its recording is one utterance."""
    first, second = (
        recorded("a", "text"),
        recorded("b", "text", attachments=take("audio-a"), selectedAudioId="audio-a"),
    )
    book = notebook(first, second)
    assert ids(training(book)) == ["a"]
    assert reasons(training(book)) == {"b": "the same recording is used by another verse"}
    assert ids(transcription(book, only=include("a", "b"))) == ["a", "b"]


def test_notebooks_that_keep_source_tags_are_not_filled_unasked() -> None:
    """The editor would flag plain text there."""
    book = notebook(recorded("1"), enforceHtmlStructure=True)
    assert reasons(transcription(book)) == {"1": "its file must keep the tags of the source text"}
    assert ids(transcription(book, only=include("1"))) == ["1"]


def test_case_46_cells_with_one_reference_are_two_cells() -> None:
    """The same verse may stand twice, in one notebook or two."""
    book = notebook(cell("a", "one", ref="MAT 1:1"), cell("b", "two", ref="MAT 1:1"))
    assert ids(speech(book, only=include("MAT 1:1"))) == ["a", "b"]


def sample(name: str) -> Notebook:
    """A sample file as a target notebook."""
    return load_notebook(f"files/target/{name}", (DATA / name).read_bytes())


def names(selection: Selection) -> list[str]:
    """The chosen cells by reference."""
    return [chosen.cell.name for chosen in selection.chosen]


def test_the_sample_with_audio() -> None:
    """Each kind of cell once: its one purpose is found."""
    book = sample("synthetic-audio-cells.codex")
    assert names(training(book)) == ["MAT 1:1"]
    assert names(transcription(book)) == ["MAT 1:2"]
    assert names(speech(book)) == ["MAT 1:3", "MAT 1:5-6"]
    assert [skipped.reference for skipped in speech(book).skipped] == ["MAT 1:4"]


def test_the_sample_of_a_whole_book() -> None:
    """Of 317 cells only verses with words are spoken: no headings, styles or milestones."""
    book = sample("hello-ao.GAL-usfm-import.codex")
    every = include(*(json["metadata"]["id"] for json in book.cells))
    assert all(name.startswith("GAL ") for name in names(speech(book)))
    listed = speech(book, only=every)
    assert len(listed.chosen) + len(listed.skipped) == 317
    kinds = [
        reason for reason in reasons(listed).values() if reason.startswith("it is not a verse")
    ]
    assert len(kinds) == 123 + 12


texts = st.sampled_from(["", "<p></p>", "words"])
cells = st.builds(
    lambda n, text, audio, data, locked: (recorded if audio else cell)(
        f"c{n}", text, data=data, **({"isLocked": True} if locked else {})
    ),
    st.integers(0, 6),
    texts,
    st.booleans(),
    st.sampled_from([{}, {}, {"deleted": True}, {"merged": True}]),
    st.booleans(),
)
entries = st.lists(st.sampled_from([f"c{n}" for n in range(8)] + ["MAT 1:c1"]), max_size=4)


@given(st.lists(cells, max_size=8), entries, entries)
def test_nothing_filled_is_chosen_without_being_listed(
    jsons: list[Any], wanted: Iterable[str], unwanted: Iterable[str]
) -> None:
    """Whatever the project and the filter look like."""
    book = notebook(*jsons)
    only = VerseFilter(include=tuple(wanted), exclude=tuple(unwanted))
    for chosen in speech(book, only=only).chosen:
        assert chosen.cell.text
        assert chosen.listed or "selectedAudioId" not in chosen.cell.metadata
        assert not chosen.cell.is_locked
    for chosen in transcription(book, only=only).chosen:
        assert chosen.pointer_path
        assert chosen.listed or not chosen.cell.text
        assert not chosen.cell.is_locked
    for chosen in (*training(book, only=only).chosen, *speech(book, only=only).chosen):
        assert chosen.cell.id not in only.exclude
        assert not only.include or chosen.cell.id in only.include or "MAT 1:c1" in only.include
        assert not set(chosen.cell.data) & {"deleted", "merged"}
