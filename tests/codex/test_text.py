"""From the HTML of a cell to words, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitlab_jobs.codex.text import html_of, is_blank, plain_text

FOOTNOTE = (
    "<p>The book of the genealogy of Jesus the Anointed, son of David, son of Abraham.<sup "
    'data-footnote="<p><em>Abraham.: </em>This is my footnote!</p>" class="footnote-marker">1</sup></p>'
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            FOOTNOTE,
            "The book of the genealogy of Jesus the Anointed, son of David, son of Abraham.",
        ),
        ("<span>a</span><br/><span>b</span>", "a b"),
        ("<p>one</p><p>two</p>", "one two"),
        ("<em>Ab</em>ba", "Abba"),
        ("Tom &amp; &lt;J&gt;", "Tom & <J>"),
        ("<p>a&nbsp;b</p>", "a b"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("a < b", "a < b"),
        ('<span style="x"><span class="y">in <b>the</b></span> end</span>', "in the end"),
        ('<span data-transcription="true" style="opacity:0.6" title="T">said</span>', "said"),
        ("<ul><li>a</li><li>b</li></ul>c", "a b c"),
        (
            'a<script>x</script><style>y</style><iframe>z</iframe><i class="spell-check">q</i>b',
            "ab",
        ),
        ("<!-- note -->a", "a"),
        ("line\nbreak \t and  blanks\u3000here", "line break and blanks here"),
        ("e\u0301", "é"),
        ("क्\u200dष \u200c م\u200cی", "क्\u200dष \u200c م\u200cی"),
        ("a\u200bb\u2060c\ufeffd\u200ee\u200ff", "abcdef"),
        ("a\x00b\x1bc", "abc"),
        ("<p>unclosed <b>tags", "unclosed tags"),
    ],
)
def test_the_words_of_a_cell(value: str, text: str) -> None:
    """Case 44 and its relatives: the same words for training and for speaking."""
    assert plain_text(value) == text


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "\n", "&nbsp;", "<span></span>", "<p></p>", "<p><br></p>", "<range>", "\u200b\ufeff",
        "\u200d", "<p>\u202f</p>", "Click to translate", "<span>NO TEXT</span>",
    ],
)  # fmt: skip
def test_what_says_nothing_is_blank(value: str) -> None:
    """Every empty shape seen in the field, and the editor's placeholders."""
    assert is_blank(plain_text(value))


def test_words_are_not_blank() -> None:
    """A placeholder within a sentence is a sentence."""
    assert not is_blank(plain_text("<p>There was no text.</p>"))
    assert not is_blank("0")


def test_text_becomes_a_value_without_wrapper() -> None:
    """Escaped, lines joined, quotes and other scripts as they are."""
    assert html_of("Tom & <J>\nsaid \"'é😀\n\n") == "Tom &amp; &lt;J&gt;<br/>said \"'é😀"
    assert html_of("  a   b\t ") == "a b"
    assert html_of(" \n ") == ""


@given(st.text(max_size=80))
def test_what_is_written_reads_as_the_same_words(text: str) -> None:
    """A transcription survives its way through HTML."""
    assert plain_text(html_of(text)) == plain_text(html_of(plain_text(html_of(text))))


@given(st.text(alphabet="abc <>&;'\"\n\té", max_size=60))
def test_escaping_loses_no_word(text: str) -> None:
    """Markup characters in recognised text are text, not markup."""
    assert plain_text(html_of(text)) == " ".join(text.split())


@given(st.text(max_size=200) | st.text("<>/pbrsupan =\"'&;!-a", max_size=200))
def test_no_value_is_too_broken(value: str) -> None:
    """Whatever stands in a cell, words come out, on one line."""
    text = plain_text(value)
    assert text == text.strip()
    assert "\n" not in text


def test_deep_nesting_costs_little() -> None:
    """A hostile value neither overflows a stack nor takes long."""
    assert plain_text("<b>" * 100_000 + "x") == "x"
