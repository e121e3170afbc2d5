"""A team's own words: the prompt that fits, spellings in one pass, fillers that leave clean sentences."""

from __future__ import annotations

import json

import pytest
from support.speech import spoken_clip

from pipelines.asr.whisper.corrections import ChangeKind, Corrector
from pipelines.asr.whisper.engine import Listening, open_engine
from pipelines.asr.whisper.transcript import Segment, Transcript, Word
from pipelines.asr.whisper.vocabulary import BadVocabulary, Vocabulary
from pipelines.audio.decode import decode
from pipelines.text.normalize import spoken_form
from pipelines.text.replacements import Replacer


@pytest.fixture(scope="module")
def engine():
    """The bundled tiny.en model."""
    return open_engine("faster-whisper", "tiny", threads=1)


def transcript_of(text, *, has_words=True):
    """A transcript of one segment whose words last half a second each."""
    parts = text.split()
    words = tuple(
        Word(n / 2, n / 2 + 0.5, f" {part}", 0.9) for n, part in enumerate(parts) if has_words
    )
    segment = Segment(0.0, len(parts) / 2, text, 0.9, words)
    return Transcript(text, (segment,), "en", 1.0, len(parts) / 2, 0.9)


def corrected(text, *, rules=None, fillers=(), has_words=True):
    """A text after correction."""
    vocabulary = Vocabulary(fillers=tuple(fillers), replacements=tuple((rules or {}).items()))
    corrector = Corrector(vocabulary, removes_fillers=bool(fillers))
    return corrector.correct(transcript_of(text, has_words=has_words))


def test_the_files_of_a_vocabulary_are_read(tmp_path):
    """Unknown keys are left alone; terms rank before phrases, phrases before words; each counts once."""
    (tmp_path / "words.json").write_text(
        json.dumps(
            {
                "custom_vocabulary": [{"display_as": "Yahweh", "sounds_like": "yah way"}],
                "top_phrases": [{"phrase": "living water", "count": 12}],
                "top_words": [{"word": "covenant"}, {"word": "YAHWEH"}],
                "filter_words": ["um", "you know"],
            }
        )
    )
    (tmp_path / "map.json").write_text('{"yahwey": "Yahweh"}')
    vocabulary = Vocabulary.load(tmp_path / "words.json", tmp_path / "map.json")
    assert vocabulary.terms == ("Yahweh", "living water", "covenant")
    assert vocabulary.fillers == ("um", "you know")
    assert vocabulary.replacements == (("yahwey", "Yahweh"),)


@pytest.mark.parametrize("content", ["{", '{"top_words": [{"text": "x"}]}', "[]"])
def test_a_damaged_vocabulary_is_named(tmp_path, content):
    """With the place of the mistake."""
    (tmp_path / "words.json").write_text(content)
    with pytest.raises(BadVocabulary, match=r"words\.json"):
        Vocabulary.load(tmp_path / "words.json", None)
    with pytest.raises(BadVocabulary, match="cannot be read"):
        Vocabulary.load(None, tmp_path / "missing.json")


def test_the_most_important_terms_survive_the_limit_of_the_prompt(engine):
    """Five thousand frequent words do not push the names out, and all tokens are seen by the model."""
    terms = ("Sweynheim", "Pannartz", *(f"word{n}" for n in range(5000)))
    prompt = Vocabulary(terms).prompt(engine.count_tokens, expected=["Subiaco"])
    assert prompt.text.startswith("Names: Subiaco, Sweynheim, Pannartz, word0, ")
    assert 150 < engine.count_tokens(prompt.text) <= 223
    assert prompt.dropped[-1] == "word4999"
    assert Vocabulary().prompt(engine.count_tokens).text == ""


def test_names_in_the_prompt_are_spelt_right_in_every_window(engine):
    """A minute into a file as well, where Whisper's own prompt would be forgotten."""
    samples = decode(spoken_clip("LJ001-0007").path).samples
    names = ("Gutenberg", "Maintz", "Schoeffer")
    prompt = Vocabulary(names).prompt(engine.count_tokens).text

    def right(prompt):
        transcripts = engine.transcribe([samples] * 2, Listening(beam=1, prompt=prompt))
        words = [spoken_form(transcript.text).split() for transcript in transcripts]
        return sum(name.lower() in heard for heard in words for name in names)

    assert right(prompt) > right("")


def test_what_one_rule_writes_no_other_rule_reads():
    """One pass, the longest rule first."""
    replacer = Replacer({"a": "b", "b": "c", "a b": "z"})
    assert replacer.replace("a, b, a b")[0] == "b, c, z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yahwey YAHWEY Yahwey yahweys", "Yahweh YAHWEH Yahweh yahweys"),
        ("the caffe\u0301 and the caf", "the coffee and the caf"),
        ("isaías isaía", "Isaiah isaía"),
    ],
)
def test_words_are_replaced_whole_and_in_their_case(text, expected):
    """A combining mark is part of its word."""
    rules = {"yahwey": "Yahweh", "caffé": "coffee", "caff": "WRONG", "isaías": "Isaiah"}
    assert Replacer(rules).replace(text)[0] == expected


def test_scripts_without_spaces_have_no_borders():
    """A name inside a row of characters is found; a Devanagari word is not cut at a vowel sign."""
    assert Replacer({"耶和話": "耶和華"}).replace("起初耶和話說")[0] == "起初耶和華說"
    assert Replacer({"राम": "X"}).replace("रामायण रामा राम")[0] == "रामायण रामा X"


@pytest.mark.parametrize("has_words", [True, False])
def test_each_change_is_recorded_with_its_time(has_words):
    """And the words of the subtitles say the same as the text."""
    result = corrected(
        "he saw abra ham, and sarah there",
        rules={"abra ham": "Abraham", "sarah": "Sara"},
        has_words=has_words,
    )
    assert result.transcript.text == "he saw Abraham, and Sara there"
    assert result.original_text == "he saw abra ham, and sarah there"
    assert result.is_vocab_enhanced
    assert [(c.kind, c.before, c.after) for c in result.changes] == [
        (ChangeKind.REPLACEMENT, "abra ham", "Abraham"),
        (ChangeKind.REPLACEMENT, "sarah", "Sara"),
    ]
    (segment,) = result.transcript.segments
    if has_words:
        assert (result.changes[0].start_s, result.changes[0].end_s) == (1.0, 2.0)
        assert "".join(word.text for word in segment.words).strip() == segment.text
        assert [(w.text, w.start_s, w.end_s) for w in segment.words][2] == (" Abraham,", 1.0, 2.0)


@pytest.mark.parametrize("has_words", [True, False])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Um, I think so.", "I think so."),
        ("Um, uh, they came.", "They came."),
        ("I, um, think so.", "I think so."),
        ("They came, you know.", "They came."),
        ("They came. Um, they saw.", "They came. They saw."),
        ("You know what I mean", "You know what I mean"),
        ("The umbrella, um", "The umbrella,"),
    ],
)
def test_fillers_leave_clean_sentences(text, expected, has_words):
    """Commas that were there for the filler go with it, full stops stay, sentences begin with a capital."""
    fillers = ["um", "uh"] if "what" in text else ["um", "uh", "you know"]
    result = corrected(text, fillers=fillers, has_words=has_words)
    assert result.transcript.text == expected


def test_a_segment_of_nothing_but_fillers_disappears_and_is_recorded():
    """The original text keeps it."""
    result = corrected("Um.", fillers=["um"])
    assert (result.transcript.text, result.transcript.segments) == ("", ())
    assert (result.original_text, result.has_fillers_removed) == ("Um.", True)
    assert result.changes[0].kind is ChangeKind.FILLER
