"""Characters as CTC symbols: spaces survive, and every script goes through unharmed."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scripts import SCRIPTS
from transformers import Wav2Vec2CTCTokenizer

from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.errors import BadCheckpoint, EmptyCorpus
from pipelines.text.normalize import spoken_form


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_text_survives_as_it_is_spoken(text, tmp_path):
    """Encode, decode, save and load give the spoken form back, without an unknown id."""
    vocabulary = Vocabulary.from_texts([text])
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == spoken_form(text)
    assert max(ids) < len(vocabulary)
    assert vocabulary.blank_id not in ids
    vocabulary.save(tmp_path)
    assert Vocabulary.load(tmp_path) == vocabulary


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_words_and_marks_are_counted_as_before(text):
    """No letter and no combining mark is dropped by the normal form."""
    spoken = spoken_form(text)
    letters = [c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c)[0] in "LM"]
    kept = [c for c in spoken if unicodedata.category(c)[0] in "LM"]
    assert len(kept) == len(letters)


@given(st.text(st.characters(exclude_categories=["Nd", "Cs"]), min_size=1, max_size=60))
def test_any_text_with_a_letter_goes_round(text):
    """The same for any text at all, and the normal form is stable."""
    spoken = spoken_form(text)
    if not spoken:
        with pytest.raises(EmptyCorpus):
            Vocabulary.from_texts([text])
        return
    vocabulary = Vocabulary.from_texts([text])
    assert vocabulary.decode(vocabulary.encode(text)) == spoken
    assert spoken_form(spoken) == spoken


def test_spaces_are_one_known_symbol():
    """A space that becomes "unknown" is the classic mistake here."""
    vocabulary = Vocabulary.from_texts(["the god of the house"])
    ids = vocabulary.encode("the god")
    assert vocabulary.symbols[ids[3]] == "|"
    assert " " not in vocabulary.symbols
    assert vocabulary.decode(ids) == "the god"


def test_a_bar_or_brackets_in_a_text_are_no_symbols():
    """Text cannot smuggle in a special symbol."""
    vocabulary = Vocabulary.from_texts(["a|b [PAD] <s>"])
    assert vocabulary.decode(vocabulary.encode("a|b [PAD]")) == "a b pad"


def test_other_tools_read_the_same_ids(tmp_path):
    """The files are those of the standard CTC tokenizer."""
    text = SCRIPTS["Devanagari"]
    vocabulary = Vocabulary.from_texts([text])
    vocabulary.save(tmp_path)
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    assert tokenizer(spoken_form(text)).input_ids == vocabulary.encode(text)
    assert tokenizer.pad_token_id == vocabulary.blank_id


def test_rare_characters_are_left_out_of_a_large_text():
    """One stray letter in a large text is not worth a symbol."""
    texts = ["the quick brown fox jumps over the lazy dog"] * 3000
    vocabulary = Vocabulary.from_texts([*texts, "naïve"])
    assert "ï" not in vocabulary.symbols
    assert vocabulary.decode(vocabulary.encode("naïve")) == "nave"


SENTENCES = {
    "Latin": ("Alpha beta, gamma.", "alpha beta, gamma."),
    "Greek": ("Ἐν ἀρχῇ· ἦν, ὁ λόγος.", "ἐν ἀρχῇ ἦν, ὁ λόγος."),
    "Devanagari": ("आदि में, वचन था।", "आदि में, वचन था।"),
    "Arabic": ("في البدء، كان الكلمة؟", "في البدء، كان الكلمة؟"),
    "Ethiopic": ("በመጀመሪያው፥ ቃል ነበረ።", "በመጀመሪያው፥ ቃል ነበረ።"),
    "Han": ("太初有道，道与神同在。", "太初有道，道与神同在。"),
    "Burmese": ("အစအဦး၌၊ ရှိ၏။", "အစအဦး၌၊ ရှိ၏။"),
    "Armenian": ("Սկիզբէն էր Բանը՝ եւ։", "սկիզբէն էր բանը՝ եւ"),
}


@pytest.mark.parametrize("script", SENTENCES)
def test_frequent_punctuation_is_learnt_and_rare_punctuation_is_not(script):
    """In any script; quotes and brackets are not spoken and never learnt."""
    written, spelt = SENTENCES[script]
    vocabulary = Vocabulary.from_texts([f"«{written}»"] * 250)
    learnt = vocabulary.decode(vocabulary.encode(f"({written})"))
    assert learnt.rstrip("։") == spelt
    few = Vocabulary.from_texts([written] * 20)
    assert few.decode(few.encode(written)) == spoken_form(written)


def test_a_sign_without_a_word_before_it_is_no_symbol():
    """A lonely comma says nothing."""
    vocabulary = Vocabulary.from_texts(["one, two."] * 250)
    assert vocabulary.spelling(", one , two ?") == "one two"


def test_learnt_punctuation_survives_the_file(tmp_path):
    """What is written back is as it was learnt."""
    vocabulary = Vocabulary.from_texts(["one, two."] * 250)
    vocabulary.save(tmp_path)
    assert Vocabulary.load(tmp_path).spelling("One, two.") == "one, two."


@pytest.mark.parametrize("digits", ["40", "٤٠", "४०", "๔๐", "၄၀", "៤០"])
def test_digits_are_learnt_only_from_enough_examples(digits):
    """Of any script; how few are spoken could not be learnt."""
    texts = [f"alpha {digits} beta"] * 19
    assert set(digits) == Vocabulary.from_texts(texts).missing(f"beta {digits}")
    assert Vocabulary.from_texts([*texts, texts[0]]).missing(f"beta {digits}") == set()


def test_new_letters_come_after_the_old_ones():
    """Training on from a model keeps its ids."""
    old = Vocabulary.from_texts(["abc"])
    new = old.extended(["bcd é"])
    assert new.symbols[: len(old)] == old.symbols
    assert new.symbols[len(old) :] == ("d", "é")


def test_a_vocabulary_of_another_worker_is_understood(tmp_path):
    """Another blank, a literal space, markup and symbols beyond the file."""
    symbols = {"<pad>": 0, "<s>": 1, "</s>": 2, " ": 3, "a": 4, "b": 5}
    (tmp_path / "vocab.json").write_text(json.dumps(symbols))
    vocabulary = Vocabulary.load(tmp_path).padded_to(8)
    assert (vocabulary.blank_id, len(vocabulary)) == (0, 8)
    assert vocabulary.decode([1, 4, 3, 5, 7, 2]) == "a b"
    assert vocabulary.encode("b a") == [5, 3, 4]


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[1, 2]",
        '{"[PAD]": 0, "a": 2}',
        '{"[PAD]": 0, "a": 0}',
        '{"a": 0, "b": 1}',
        '{"[PAD]": "0"}',
        '{"[PAD]": true}',
    ],
)
def test_damaged_vocabularies_are_refused(tmp_path, content):
    """Gaps, doubles, no blank, wrong types."""
    (tmp_path / "vocab.json").write_text(content)
    with pytest.raises(BadCheckpoint):
        Vocabulary.load(tmp_path)


def test_texts_without_letters_cannot_be_learnt():
    """Punctuation alone is no text."""
    with pytest.raises(EmptyCorpus):
        Vocabulary.from_texts(["...", "—"])
