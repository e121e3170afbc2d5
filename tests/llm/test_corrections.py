"""Corrections of a text carried into its subtitles: the words change, the times do not."""

from __future__ import annotations

import json
from pathlib import Path

import pysubs2
import pytest

from pipelines.errors import PipelineError
from pipelines.llm.corrections import correct_subtitles

SRT = """1
00:00:00,000 --> 00:00:02,500
In the beginning God
crated the heaven

2
00:00:02,500 --> 00:00:05,000
and the earth. And the earth was

3
00:00:05,000 --> 00:00:07,000
without from, and void.
"""


def corrected(
    tmp_path: Path, changes: list[dict[str, str]], srt: str = SRT
) -> tuple[list[tuple[int, int, str]], list[str]]:
    """Cues as (start ms, end ms, text) afterwards, and the corrections not found."""
    srt_path, changes_path = tmp_path / "talk.srt", tmp_path / "changes.json"
    srt_path.write_text(srt, encoding="utf-8")
    changes_path.write_text(json.dumps({"changes": changes}), encoding="utf-8")
    done = correct_subtitles(changes_path, srt_path)
    assert done.srt_path.name == "talk_refined.srt"
    assert done.changes_path.name == "talk_refined_changes.json"
    listed = json.loads(done.changes_path.read_text(encoding="utf-8"))
    assert listed["summary"]["changes"] == len(done.applied) == len(listed["changes"])
    cues = pysubs2.load(str(done.srt_path), encoding="utf-8")
    return [(cue.start, cue.end, cue.text) for cue in cues], [
        one.original for one in done.not_found
    ]


def test_words_change_where_they_stand_and_times_stay(tmp_path: Path) -> None:
    """Line breaks within a cue stay too."""
    cues, lost = corrected(
        tmp_path,
        [
            {"original": "crated", "corrected": "created"},
            {"original": "from", "corrected": "form"},
        ],
    )

    assert cues == [
        (0, 2500, "In the beginning God\\Ncreated the heaven"),
        (2500, 5000, "and the earth. And the earth was"),
        (5000, 7000, "without form, and void."),
    ]
    assert lost == []


def test_a_correction_over_two_cues_leaves_each_word_in_its_cue(tmp_path: Path) -> None:
    """New words go where the words they replace were spoken."""
    cues, _ = corrected(
        tmp_path,
        [{"original": "earth was without from", "corrected": "earth was all without form"}],
    )

    assert [text for _, _, text in cues][1:] == [
        "and the earth. And the earth was",
        "all without form, and void.",
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("crated the heaven and the ", ". And", "and the world. And the earth was"),
        ("earth. And the ", " was without", "and the earth. And the world was"),
    ],
)
def test_words_that_occur_twice_are_told_apart_by_what_stands_around_them(
    tmp_path: Path, before: str, after: str, expected: str
) -> None:
    """The change's own surroundings decide."""
    change = {"original": "earth", "corrected": "world", "before": before, "after": after}

    cues, _ = corrected(tmp_path, [change])

    assert cues[1][2] == expected


def test_what_is_not_there_is_listed_and_nothing_else_changes(tmp_path: Path) -> None:
    """A part of a word is not the word."""
    changes = [
        {"original": "eart", "corrected": "art"},
        {"original": "", "corrected": "x"},
        {"original": "void", "corrected": "empty"},
    ]

    cues, lost = corrected(tmp_path, changes)

    assert lost == ["eart", ""]
    assert cues[1][2] == "and the earth. And the earth was"
    assert cues[2][2] == "without from, and empty."


def test_a_cue_that_loses_all_its_words_goes(tmp_path: Path) -> None:
    """An empty line on the screen helps nobody."""
    cues, _ = corrected(tmp_path, [{"original": "without from, and void.", "corrected": ""}])

    assert [start for start, _, _ in cues] == [0, 2500]


def test_a_script_without_spaces_is_corrected_too(tmp_path: Path) -> None:
    """No word edges are needed."""
    srt = "1\n00:00:00,000 --> 00:00:02,000\n起初神创造天帝\n\n2\n00:00:02,000 --> 00:00:03,000\n地是空虚\n"

    cues, lost = corrected(tmp_path, [{"original": "天帝", "corrected": "天地"}], srt)

    assert cues == [(0, 2000, "起初神创造天地"), (2000, 3000, "地是空虚")]
    assert lost == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"changes": 5}'])
def test_a_file_that_lists_no_changes_is_refused_by_name(tmp_path: Path, content: str) -> None:
    """The subtitles are not touched."""
    (tmp_path / "talk.srt").write_text(SRT)
    (tmp_path / "changes.json").write_text(content)

    with pytest.raises(PipelineError, match=r"changes\.json is not a changes file"):
        correct_subtitles(tmp_path / "changes.json", tmp_path / "talk.srt")
    assert not (tmp_path / "talk_refined.srt").exists()
