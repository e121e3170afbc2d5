"""Real languages keep every letter: vocabulary, fallbacks, coverage and warm start."""

from __future__ import annotations

import json
import unicodedata

import pytest
import torch
from support import parity
from support.parity import group

from pipelines.text.romanize import is_mostly_latin, romanizer
from pipelines.tts.stabletts.symbols import SYMBOLS
from pipelines.tts.stabletts.text import FrontEnd, TextSettings, characters, compose
from pipelines.tts.stabletts.vocabulary import UNKNOWN, Vocabulary, build, cover
from pipelines.tts.stabletts.voice import Voice
from pipelines.tts.stabletts.warm_start import EMBEDDING, embedding_rows, warm_start

SCRIPTS = {
    "Yoruba, tone marks": "Ní àtètèkọ́ṣe ni Ọ̀rọ̀ wà, Ọ̀rọ̀ sì wà pẹ̀lú Ọlọ́run.",
    "Vietnamese": "Ban đầu có Ngôi Lời, Ngôi Lời ở cùng Đức Chúa Trời.",
    "Hausa, hooked letters": "Ƙaunar Allah ta ɗaga ɓangare duka.",
    "Russian": "В начале было Слово, и Слово было у Бога; ёж.",
    "Hindi": "आदि में वचन था, और वचन परमेश्वर के साथ था।",
    "Amharic": "በመጀመሪያ ቃል ነበረ፥ ቃልም በእግዚአብሔር ዘንድ ነበረ።",
    "Arabic": "فِي الْبَدْءِ كَانَ الْكَلِمَةُ، وَالْكَلِمَةُ كَانَ عِنْدَ اللهِ؟",
    "Thai": "ในปฐมกาลพระวาทะดำรงอยู่ และพระวาทะทรงอยู่กับพระเจ้า",
    "Korean": "태초에 말씀이 계시니라",
}


@pytest.mark.parametrize("language", SCRIPTS)
def test_no_letter_is_lost(language: str) -> None:
    """What the voice is given spells the text again, up to case and punctuation."""
    text = SCRIPTS[language]
    vocabulary = build([text])
    encoded = vocabulary.encode(text)
    assert not encoded.unknown
    spelt = compose([vocabulary.tokens[row] for row in encoded.ids[1::2]])
    assert letters(spelt) == letters(unicodedata.normalize("NFC", text.casefold()))


@pytest.mark.parametrize(("one", "other"), [("còn", "con"), ("Ọ́", "O"), ("ሰላም", "ሰሉም"), ("ı", "i")])
def test_contrasts_are_kept(one: str, other: str) -> None:
    """Words that differ in a mark or a vowel order differ for the voice."""
    vocabulary = build([one, other])
    assert vocabulary.encode(one).ids != vocabulary.encode(other).ids


def test_accented_letters_share_their_base() -> None:
    """á, à and a begin with the same row."""
    vocabulary = build(["á à a"])
    first = {vocabulary.encode(letter).ids[1] for letter in "áàa"}
    assert len(first) == 1


def test_case_is_folded_unless_the_language_needs_it() -> None:
    """Some orthographies distinguish words by case."""
    folded, kept = build(["Aa"]), build(["Aa"], TextSettings(keep_case=True))
    assert folded.encode("A") == folded.encode("a")
    assert kept.encode("A") != kept.encode("a")


def test_quotes_dashes_and_pauses_of_other_scripts_have_rows() -> None:
    """All of them are the eight signs that the published weights know."""
    assert characters("«a» — b... c። d؟") == list("'a' - b… c. d?")


def test_digits_are_flagged_and_never_read_in_english() -> None:
    """Only the project can say how its numbers are spoken."""
    text = "Mtu 3 ፫"
    silent = build([text]).encode(text)
    assert silent.digits == ("3", "፫")
    told = build(["Mtu tatu"], TextSettings(digits={"3": "tatu", "፫": "tatu"}))
    assert told.encode("Mtu 3") == told.encode("Mtu tatu")


def test_longer_numbers_are_replaced_before_their_digits() -> None:
    """Ten is not one and zero."""
    told = build(["kumi moja sifuri"], TextSettings(digits={"1": "moja", "10": "kumi"}))
    assert told.encode("10") == told.encode("kumi")


def test_rare_letters_are_spelt_with_known_ones() -> None:
    """A name in another script does not add letters that cannot be learnt."""
    vocabulary = build(["salam aleik " * 500, "Слава"], romanize=romanizer())
    assert "с" not in vocabulary.tokens
    assert vocabulary.fallbacks["с"] == ("s",)
    assert vocabulary.fallbacks["л"] == ("l",)
    assert "в" not in vocabulary.fallbacks  # v is not known either
    encoded = vocabulary.encode("лас")
    assert [vocabulary.tokens[row] for row in encoded.ids[1::2]] == ["l", "a", "s"]
    assert not encoded.unknown
    assert vocabulary.encode("в").unknown == ("в",)


def test_coverage_names_signs_and_verses() -> None:
    """Known before a GPU is started."""
    vocabulary = build(["neno la mungu."])
    verses = {"JHN 1:1": "neno la mungu", "JHN 1:2": "neno 7 x", "JHN 1:3": "", "JHN 1:4": "!"}
    report = cover(vocabulary, verses)
    assert report.unknown == {"x": 1}
    assert report.digits == {"7": 1}
    assert report.unknown_in == report.digits_in == ("JHN 1:2",)
    assert report.unspeakable == ("JHN 1:3",)
    assert 0.8 < report.share < 1
    assert [line.split(" has")[0] for line in report.warnings()] == ["1 verse"] * 3
    assert "x (JHN 1:2)" in report.warnings()[0]


def test_full_coverage_has_no_warnings() -> None:
    """Text that the vocabulary was built from is covered."""
    report = cover(build(SCRIPTS.values()), SCRIPTS)
    assert report.share == 1.0
    assert report.warnings() == []


def test_an_unknown_letter_has_a_row_of_its_own() -> None:
    """It makes a sound, and is reported."""
    vocabulary = build(["ab"])
    encoded = vocabulary.encode("axb")
    assert encoded.unknown == ("x",)
    assert vocabulary.tokens[encoded.ids[3]] == UNKNOWN


def test_a_vocabulary_survives_its_json() -> None:
    """It travels inside the checkpoint."""
    settings = TextSettings(keep_case=True, digits={"1": "moja"}, replacements={"ʼ": "'"})
    vocabulary = build(SCRIPTS.values(), settings)
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary
    with pytest.raises(ValueError, match="not a vocabulary"):
        Vocabulary.from_json({"tokens": []})


def test_voices_of_older_workers_keep_their_spelling() -> None:
    """Other scripts go through Latin letters into the English front end."""
    legacy = build([], TextSettings(front_end=FrontEnd.UROMAN_ENGLISH))
    assert legacy.tokens == SYMBOLS
    encoded = legacy.encode("Слову человека")
    spelt = "".join(legacy.tokens[row] for row in encoded.ids[1::2])
    assert spelt == "slovu* heloveka*"
    assert encoded.unknown == ("c",)  # dropped as ever, but reported


def test_script_is_decided_on_the_whole_project() -> None:
    """One foreign name does not change how everything is spelt."""
    assert is_mostly_latin(["Yesu alisema", "Иисус", "12"])
    assert not is_mostly_latin(["Иисус сказал им", "Amen"])
    assert is_mostly_latin([])


def test_warm_start_takes_over_everything_and_the_closest_rows() -> None:
    """Own letter, hint, romanised letter, and a mean for the rest."""
    base = Voice(parity.model(), Vocabulary(SYMBOLS))
    state = base.model.state_dict()
    vocabulary = build(["a c r шq ¤ˤ, "])
    model = warm_start(base, vocabulary, romanize=romanizer())
    official, rows = state[EMBEDDING], model.encoder.emb.weight
    known = {symbol: official[row] for row, symbol in enumerate(SYMBOLS)}
    own = {symbol: rows[row] for row, symbol in enumerate(vocabulary.tokens)}
    for new, old in (("_", "_"), (",", ","), (" ", " "), ("a", "a"), ("c", "k"), ("q", "k")):
        assert torch.equal(own[new], known[old])
    assert torch.equal(own["r"], known["ɹ"])
    assert torch.equal(own["ш"], known["s"])
    assert not any(torch.equal(own[UNKNOWN], row) for row in official)
    for name, tensor in model.state_dict().items():
        assert name == EMBEDDING or torch.equal(tensor, state[name])


def test_warm_start_is_repeatable_and_keeps_a_known_vocabulary() -> None:
    """Two workers that start the same voice start from the same weights."""
    weight = group("sd")[EMBEDDING]
    assert torch.equal(embedding_rows(weight, SYMBOLS, SYMBOLS), weight)
    twice = [embedding_rows(weight, SYMBOLS, ["あ", "い"]) for _ in range(2)]
    assert torch.equal(*twice)
    assert not torch.equal(*twice[0])


def letters(text: str) -> str:
    """Letters and marks only."""
    return "".join(sign for sign in text if unicodedata.category(sign)[0] in "LM")
