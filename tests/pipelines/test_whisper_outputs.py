"""The files of a transcript, opened again by programs that others wrote."""

from __future__ import annotations

import csv
import html
import itertools
import json

import av
import pysubs2
import pytest

from pipelines.asr.whisper.corrections import Change, ChangeKind, Corrected
from pipelines.asr.whisper.outputs import (
    FORMATS,
    Result,
    cues,
    output_paths,
    read_result,
    write_outputs,
)
from pipelines.asr.whisper.transcript import Segment, Transcript, Word, nothing_heard
from pipelines.text.subtitles import CUE_CHARACTERS, LINE_CHARACTERS

SENTENCES = (
    (0.2, 3.0, "In the beginning God created the heaven & the earth.", "A"),
    (3.1, 12.0, "And the earth was <without> form, and void; and {darkness} was upon the face of the "
     "deep. And the Spirit of God moved upon the face of the waters --> now.", "A"),
    (12.05, 12.4, "Light!", "B"),
    (3_599.9996, 3_602.0, "起初神創造天地地是空虛混沌淵面黑暗神的靈運行在水面上神說要有光就有了光神看光是好的就把光暗分開了", None),
)  # fmt: skip


def segment_of(start_s, end_s, text, speaker, *, has_words):
    """A segment whose words share its time by length."""
    words, position = [], start_s
    parts = [f" {part}" for part in text.split()] if " " in text else list(text)
    for part in parts if has_words else ():
        next_s = position + (end_s - start_s) * len(part) / sum(map(len, parts))
        words.append(Word(round(position, 3), round(next_s, 3), part, 0.9))
        position = next_s
    return Segment(start_s, end_s, text, 0.9, tuple(words), (), speaker)


@pytest.fixture(params=[True, False], ids=["words", "no-words"])
def result(request):
    """Four segments of two speakers, over an hour."""
    segments = tuple(segment_of(*fields, has_words=request.param) for fields in SENTENCES)
    text = " ".join(segment.text for segment in segments)
    transcript = Transcript(text, segments, "en", 0.98, 3_610.0, 0.9)
    change = Change(ChangeKind.REPLACEMENT, 0.5, 0.9, "Got", "God")
    corrected = Corrected(transcript, "the text before", is_vocab_enhanced=True, changes=(change,))
    return Result(corrected, "talks/genesis.mp3", {"engine": "faster-whisper", "model": "base"})


def test_the_json_holds_everything(result, tmp_path):
    """What is read again is what was written; the fields keep their names."""
    (path,) = write_outputs(result, tmp_path / "talk.mp3", ["json"])
    assert path.name == "talk.mp3.json"
    assert read_result(path) == result
    fields = json.loads(path.read_text("utf-8"))
    assert (fields["original_text"], fields["vocab_enhanced"], fields["fillers_removed"]) == (
        "the text before", True, False
    )  # fmt: skip


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_are_read_back_by_pysubs2(result, tmp_path, form):
    """Nothing lost, signs of markup included; ordered, no overlap, lines that fit."""
    (path,) = write_outputs(result, tmp_path / "talk", [form])
    events = list(pysubs2.load(str(path), keep_html_tags=True, keep_unknown_html_tags=True))
    shown = " ".join(html.unescape(event.text.replace("\\N", " ")) for event in events)
    for told in (
        "heaven & the earth",
        "<without>",
        "{darkness}",
        "Light!",
        "B: Light!",
        "the deep.",
    ):
        assert told in shown
    starts = [event.start for event in events]
    assert starts == sorted(starts)
    assert all(event.start < event.end for event in events)
    assert all(a.end <= b.start for a, b in itertools.pairwise(events))
    assert all(len(line) <= LINE_CHARACTERS + 3 for e in events for line in e.plaintext.split("\n"))
    assert all(event.plaintext.count("\n") <= 1 for event in events)


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_are_read_by_ffmpeg(result, tmp_path, form):
    """As many packets as cues, at their times."""
    (path,) = write_outputs(result, tmp_path / "talk", [form])
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(subtitles=0) if packet.size]
    expected = cues(result.corrected.transcript)
    assert [round(float(p.pts * p.time_base), 2) for p in packets] == [
        round(cue.start_s, 2) for cue in expected
    ]


def test_a_cue_stays_long_enough_to_be_read_where_there_is_room(result):
    """A word said in a third of a second is shown for one; the text of a cue is never too long."""
    shown = cues(result.corrected.transcript)
    (light,) = [cue for cue in shown if cue.text == "Light!"]
    assert light.end_s - light.start_s == pytest.approx(1.0)
    assert all(len(cue.text) <= CUE_CHARACTERS + 1 for cue in shown)


def test_formatted_text_has_paragraphs_and_speakers(result, tmp_path):
    """A new paragraph where the speaker changes or nobody spoke for long."""
    (path,) = write_outputs(result, tmp_path / "talk", ["formatted"])
    assert path.name == "talk_formatted.txt"
    blocks = path.read_text("utf-8").rstrip("\n").split("\n\n")
    assert [block.partition("\n")[0] for block in blocks[:2]] == ["A:", "B:"]
    assert blocks[1] == "B:\nLight!"
    assert blocks[2].startswith("起初神")


def test_the_table_opens_as_tab_separated_text(result, tmp_path):
    """Milliseconds, one segment a row."""
    (path,) = write_outputs(result, tmp_path / "talk", ["tsv"])
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, "excel-tab", quoting=csv.QUOTE_NONE))
    assert rows[0] == ["start", "end", "text"]
    assert rows[1] == ["200", "3000", SENTENCES[0][2]]
    assert rows[4][:2] == ["3600000", "3602000"]


def test_silence_leaves_files_that_are_not_empty(tmp_path):
    """An empty file would look unfinished."""
    silent = Result(Corrected(nothing_heard(3.0, "en"), ""), "silence.wav", {})
    paths = write_outputs(silent, tmp_path / "silence.wav", FORMATS)
    assert paths == output_paths(tmp_path / "silence.wav", FORMATS)
    assert all(path.stat().st_size for path in paths)
    assert len(pysubs2.load(str(tmp_path / "silence.wav.vtt"), format_="vtt")) == 0
    assert not list(tmp_path.glob(".*"))
