"""The front ends of the published weights give the original's symbols."""

from __future__ import annotations

import json
import sys

import pytest
from support import parity

from pipelines.tts.errors import MissingLibrary
from pipelines.tts.stabletts.frontends import chinese, english, japanese

CASES = parity.text_cases()["cases"]


def cases(language: str) -> list[dict[str, list[str]]]:
    """Return the stored cases of one language."""
    return [case for case in CASES if case["language"] == language]


@pytest.mark.parametrize("case", cases("english"), ids=lambda case: case["text"])
def test_english(case: dict[str, list[str]]) -> None:
    """Abbreviations, numbers, dictionary, unknown words, dark l."""
    assert english.symbols(case["text"]) == case["phones"]


@pytest.mark.parametrize("case", cases("japanese"), ids=lambda case: case["text"])
def test_japanese_from_open_jtalk_labels(case: dict[str, list[str]]) -> None:
    """Pitch accents, double consonants, the nasal."""
    labels = json.loads((parity.DATA / "open_jtalk_labels.json").read_text("utf-8"))
    assert japanese.symbols(case["text"], labels.__getitem__) == case["phones"]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("1,234 men", "twelve thirty-four men"),
        ("in 2005", "in two thousand five"),
        ("in 1900", "in nineteen hundred"),
        ("2.5", "two point five"),
        ("£1 and $0.50", "one pounds and fifty cents"),
        ("the 21st", "the twenty-first"),
        ("5000", "five thousand"),
    ],
)
def test_english_numbers(written: str, spoken: str) -> None:
    """Amounts, years, decimals and ordinals become words."""
    assert english.spell_numbers(written) == spoken


@pytest.mark.parametrize(
    ("digits", "words"),
    [
        ("0", "零"),
        ("3", "三"),
        ("10", "十"),
        ("12", "十二"),
        ("105", "一百零五"),
        ("2000", "二千"),
        ("10050", "一万零五十"),
        ("144000", "十四万四千"),
        ("100000001", "一亿零一"),
        ("3.14", "三点一四"),
    ],
)
def test_chinese_numbers(digits: str, words: str) -> None:
    """A gap is read as one zero, a leading ten without its one."""
    assert chinese.spell_number(digits) == words


@pytest.mark.parametrize("front_end", [japanese.symbols, lambda t: chinese.symbols(t, {"wo": ()})])
def test_a_missing_library_is_named(front_end: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    for library in ("pyopenjtalk", "jieba", "pypinyin"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibrary, match="pip install"):
        front_end("私は")


def test_chinese_needs_a_table_of_syllables() -> None:
    """The original's table has no licence and is not shipped."""
    with pytest.raises(ValueError, match="table of syllables"):
        chinese.symbols("我", {})
