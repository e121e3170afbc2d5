"""English: spelling → IPA by dictionary; a word that is not in it stays as its letters plus `*`.

Older workers sent every language through this. Needs `eng-to-ipa` and `inflect`. Accents are removed by Unicode
decomposition (the original used a GPL library; letters without a decomposition may differ).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

from pipelines.tts.errors import MissingLibrary

_ABBREVIATIONS = {
    "mrs": "misess",
    "mr": "mister",
    "dr": "doctor",
    "st": "saint",
    "co": "company",
    "jr": "junior",
    "maj": "major",
    "gen": "general",
    "drs": "doctors",
    "rev": "reverend",
    "lt": "lieutenant",
    "hon": "honorable",
    "sgt": "sergeant",
    "capt": "captain",
    "esq": "esquire",
    "ltd": "limited",
    "col": "colonel",
    "ft": "fort",
}
_ABBREVIATION = re.compile(rf"\b({'|'.join(_ABBREVIATIONS)})\.")
# Letters that Unicode does not decompose, as they are usually transliterated.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i"}
    | {"ŋ": "ng", "ɓ": "b", "ɗ": "d", "ƙ": "k", "ɛ": "e", "ɔ": "o", "ə": "e", "ħ": "h"}
    | {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "--", "…": "..."}
)
_DARK_L = re.compile(r"l(?=[^aeiouæɑɔəɛɪʊ\s]*(?:\s|$))")
_SPELLINGS = (("r", "ɹ"), ("ʤ", "dʒ"), ("ʧ", "tʃ"), ("...", "…"))


def symbols(text: str) -> list[str]:
    """Turn English text into symbols of the published table (and some that are not in it)."""
    plain = _ABBREVIATION.sub(lambda found: _ABBREVIATIONS[found[1]], _ascii(text).lower())
    ipa = " ".join(_ipa(spell_numbers(plain)).split())
    ipa = _DARK_L.sub("ɫ", ipa)
    for old, new in _SPELLINGS:
        ipa = ipa.replace(old, new)
    return list(ipa)


def spell_numbers(text: str) -> str:
    """Write amounts, decimals, ordinals and integers out in English words."""
    text = re.sub(r"\d[\d,]+\d", lambda found: found[0].replace(",", ""), text)
    text = re.sub(r"£(\d+)", r"\1 pounds", text)
    text = re.sub(r"\$(\d+)(?:\.(\d+))?", lambda found: _dollars(found[1], found[2]), text)
    text = re.sub(r"(\d+)\.(\d+)", r"\1 point \2", text)
    text = re.sub(r"\d+(?:st|nd|rd|th)\b", lambda found: _words(found[0]), text)
    return re.sub(r"\d+", lambda found: _integer(int(found[0])), text)


def _ascii(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return decomposed.encode("ascii", "ignore").decode("ascii")


def _dollars(whole: str, fraction: str | None) -> str:
    dollars, cents = int(whole), int(fraction or 0)
    parts = [_count(dollars, "dollar")] if dollars or not cents else []
    if cents:
        parts.append(_count(cents, "cent"))
    return ", ".join(parts)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _integer(number: int) -> str:
    """Read 1001–2999 as a year, except where English does not."""
    if not 1_000 < number < 3_000 or number == 2_000:
        return _words(number)
    if 2_000 < number < 2_010:
        return f"two thousand {_words(number % 100)}"
    if number % 100 == 0:
        return f"{_words(number // 100)} hundred"
    pairs = _inflect().number_to_words(number, andword="", zero="oh", group=2)
    return str(pairs).replace(", ", " ")


def _words(number: int | str) -> str:
    return str(_inflect().number_to_words(number, andword=""))


@cache
def _inflect() -> Any:
    try:
        import inflect
    except ModuleNotFoundError as error:
        raise MissingLibrary("inflect", "the English front end") from error
    return inflect.engine()


def _ipa(text: str) -> str:
    try:
        import eng_to_ipa
    except ModuleNotFoundError as error:
        raise MissingLibrary("eng-to-ipa", "the English front end") from error
    return str(eng_to_ipa.convert(text))
