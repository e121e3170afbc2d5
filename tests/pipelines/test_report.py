"""A report as a reader gets it: everything is there, nothing runs, nothing is fetched."""

from __future__ import annotations

import base64
from itertools import pairwise
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser
from support.speech import spoken_clip

from pipelines.audio.decode import decode
from pipelines.report.audio import LONGEST_S, Samples
from pipelines.report.curve import MAX_POINTS, Curve, Series, read_curve
from pipelines.report.diff import Change, compare
from pipelines.report.page import Report, render, write_report
from pipelines.report.parts import (
    Badge,
    Comparison,
    Facts,
    Lines,
    Notes,
    Number,
    Part,
    Sound,
    Table,
    Tone,
)

HOSTILE = """"><script>alert(1)</script><img src=x onerror='alert(2)'>{{ 7 * 7 }}"""


def page_of(*parts: Part) -> LexborHTMLParser:
    """A rendered page, parsed by a real parser."""
    return LexborHTMLParser(render(Report("A job", "What came of it.", parts)))


def every_part(text: str) -> list[Part]:
    """One of everything, with a text wherever one can be."""
    cells = (
        text,
        None,
        Badge(text, Tone.BAD),
        Number(1.25, 1, text),
        Sound(text, text, 1.0),
        Comparison(compare(text, "other")),
        Lines((text, text)),
    )
    return [
        Facts(text, [(text, text), ("blank", None)]),
        Notes(text, [text]),
        Table(text, [text] * len(cells), [cells], rest=text),
        Curve(text, [Series(text, ((1, 2.0), (2, 1.0)))], x_label=text),
    ]


def test_no_text_of_a_project_becomes_markup():
    """Whatever a translator, a file name or a manifest says."""
    html = render(Report(HOSTILE, HOSTILE, every_part(HOSTILE)))
    page = LexborHTMLParser(html)
    assert page.css_first("script, img, iframe, link, [onerror]") is None
    assert "49" not in page.body.text()
    assert HOSTILE in page.css_first("h1").text()
    assert page.body.text().count("{{ 7 * 7 }}") > 10


def test_a_page_fetches_nothing():
    """No address leads out of it, and its own policy forbids what a browser might try."""
    page = page_of(*every_part("text"))
    for node in page.css("[src], [href], [data], [srcset]"):
        assert node.attributes.get("src") == "text"  # the sample's own source
    assert "http:" not in page.html.replace("http-equiv", "")
    assert "url(" not in page.css_first("style").text()
    policy = page.css_first("meta[http-equiv]").attributes["content"]
    assert policy.startswith("default-src 'none'")


def test_a_page_can_be_read_without_seeing_it():
    """Headings, header cells, names for players and drawings, and a language."""
    page = page_of(*every_part("words"))
    assert page.css_first("html").attributes["lang"] == "en"
    assert page.css_first("title").text() == "A job"
    assert [node.text() for node in page.css("h2")] == ["words"] * 4
    for section in page.css("section"):
        assert page.css_first(f"#{section.attributes['aria-labelledby']}") is not None
    assert page.css_first("thead th[scope=col]") is not None
    assert page.css_first("tbody th[scope=row]") is not None
    assert page.css_first("audio").attributes["aria-label"] == "words"
    assert (
        "from 2 to 1, lowest 1 at words 2"
        in page.css_first("svg[role=img]").attributes["aria-label"]
    )
    assert page.css_first("td del") is not None
    assert page.css_first("td ins") is not None


def test_a_fact_without_a_value_is_left_out():
    """A blank line would look like something missing."""
    page = page_of(Facts("Facts", [("there", "yes"), ("not there", None)]))
    assert [node.text() for node in page.css("dt")] == ["there"]


def test_a_file_is_written_whole(tmp_path: Path):
    """And nothing is left beside it."""
    path = write_report(tmp_path / "report.html", Report("T", "L", ()))
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_samples_play_and_keep_to_their_budget(tmp_path: Path):
    """They are cut, small, and stop when the budget is spent."""
    clip = spoken_clip("LJ001-0004").path
    samples = Samples(most=2)
    sound = samples.take(clip, "LJ 1:4")
    assert sound is not None
    raw = base64.b64decode(sound.source.partition("base64,")[2])
    (tmp_path / "sample").write_bytes(raw)
    assert decode(tmp_path / "sample").duration_s == pytest.approx(sound.duration_s, abs=0.1)
    assert sound.duration_s <= LONGEST_S
    assert len(raw) < 6_000 * sound.duration_s
    assert samples.take(clip, "again") is not None
    assert samples.take(clip, "once more") is None
    assert Samples(most_bytes=100).take(clip, "too much") is None


def test_an_unreadable_recording_is_no_sample(tmp_path: Path):
    """A report must not fail over a broken file, which the job has named already."""
    broken = tmp_path / "broken.webm"
    broken.write_bytes(b"no sound at all")
    assert Samples().take(broken, "broken") is None


def test_a_curve_is_read_with_its_gaps(tmp_path: Path):
    """Blank and odd values are left out; a column that is not there has no line."""
    table = tmp_path / "m.csv"
    table.write_text("epoch,train,val\n1,4,\n2,nan,3\n3,2,oops\n4,1,2\nx,9,9\n")
    columns = {"train": "training", "val": "validation", "gone": "gone"}
    curve = read_curve(table, "Loss", columns)
    assert curve is not None
    assert [(one.name, one.points) for one in curve.series] == [
        ("training", ((1, 4), (3, 2), (4, 1))),
        ("validation", ((2, 3), (4, 2))),
    ]
    assert curve.series[1].lowest == (4, 2)
    assert read_curve(tmp_path / "none.csv", "Loss", columns) is None
    table.write_text("epoch,train\n1,2\n")
    assert read_curve(table, "Loss", columns) is None


@pytest.mark.parametrize(
    "points",
    [
        tuple((x, 5 * 0.99**x) for x in range(1, 8_000)),
        ((1, 1.0), (2, 1.0)),
        ((3, -1e-9), (4, 2e9)),
        ((1, 0.0), (1, 0.0)),
        ((1, 27_000.0), (2, 7.0), (3, 0.002)),
    ],
    ids=["long", "flat", "huge", "one place", "steep"],
)
def test_every_curve_stays_in_its_box(points):
    """However long, flat or steep it is."""
    drawing = Curve("Loss", [Series("loss", points)]).draw()
    (line,) = drawing.lines
    drawn = [tuple(map(float, pair.split(","))) for pair in line.points.split()]
    assert 2 <= len(drawn) <= MAX_POINTS + 1
    assert all(0 <= x <= drawing.width and 0 <= y <= drawing.bottom for x, y in drawn)
    assert 2 <= len(drawing.y_ticks) <= 13
    assert len({tick.text for tick in drawing.x_ticks}) == len(drawing.x_ticks)


def test_a_steep_curve_can_still_be_read():
    """A loss that begins in the thousands must not press its end flat onto the axis."""
    points = tuple((x, 30_000 / 4**x) for x in range(7))
    drawing = Curve("Loss", [Series("loss", points)]).draw()
    heights = [float(pair.split(",")[1]) for pair in drawing.lines[0].points.split()]
    steps = [after - before for before, after in pairwise(heights)]
    assert max(steps) == pytest.approx(min(steps), abs=0.2)
    assert [tick.text for tick in drawing.y_ticks] == ["1", "10", "100", "1000", "10000", "100000"]


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("in the beginning", "in a beginning"),
        ("", "something"),
        ("something", ""),
        ("Ọ̀rọ̀", "Ọrọ̀"),
        ("आदि में", "आद में"),
        ("في البدء", "في البد"),
    ],
)
def test_a_comparison_holds_both_texts(said: str, heard: str):
    """Without what was added it is what was said; without what is missing, what was heard."""
    pieces = compare(said, heard)
    assert "".join(p.text for p in pieces if p.change is not Change.ADDED) == said
    assert "".join(p.text for p in pieces if p.change is not Change.MISSING) == heard


def test_a_letter_is_compared_with_its_marks():
    """A tone mark alone would be unreadable."""
    missing = [p.text for p in compare("ọ̀", "ọ") if p.change is Change.MISSING]
    assert missing == ["ọ̀"]
