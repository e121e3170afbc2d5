"""CTC outputs to words, times and confidence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.scripts import SCRIPTS

from pipelines.asr.alignment import align
from pipelines.asr.w2v2bert.beam import Weights
from pipelines.asr.w2v2bert.confidence import Calibration, Evidence
from pipelines.asr.w2v2bert.language import WORDS_FILE, Language
from pipelines.asr.w2v2bert.language_model import CharacterModel
from pipelines.asr.w2v2bert.reader import FILE_NAME, Reader, best_symbols
from pipelines.asr.w2v2bert.transcribe import has_repetition
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.errors import BadCheckpoint
from pipelines.text.normalize import spoken_form

BLANK = 0
VOCABULARY = Vocabulary.from_texts(["abcdef gh"])
FRAME_S = 0.04


def _emissions(*frames, certainty=0.96, vocabulary=VOCABULARY):
    """Log-probabilities that clearly say these symbols, frame by frame."""
    count = len(vocabulary)
    p = np.full((len(frames), count), (1 - certainty) / (count - 1), np.float32)
    p[np.arange(len(frames)), list(frames)] = certainty
    return np.log(p)


def _said(text, certainty=0.96, vocabulary=VOCABULARY):
    """A blank after every letter."""
    frames = [frame for symbol in vocabulary.encode(text) for frame in (symbol, BLANK)]
    return _emissions(*frames, certainty=certainty, vocabulary=vocabulary)


def _read(*emissions):
    return Reader(VOCABULARY, FRAME_S).read(emissions)


def test_repeats_are_merged_and_blanks_dropped():
    """The rule of CTC."""
    assert best_symbols(_emissions(3, 3, 0, 0, 4, 4, 4, 0), BLANK) == (3, 4)


def test_a_doubled_letter_needs_a_blank_between():
    """Otherwise it is one letter held long."""
    assert best_symbols(_emissions(3, 0, 3, 3), BLANK) == (3, 3)


def test_words_come_with_their_times():
    """From the first frame of a word's first letter to the last frame of its last."""
    (reading,) = _read(_said("ab cd"))
    assert reading.text == "ab cd"
    assert [(word.text, word.begin_s, word.end_s) for word in reading.words] == [
        ("ab", 0.0, pytest.approx(3 * FRAME_S)),
        ("cd", pytest.approx(6 * FRAME_S), pytest.approx(9 * FRAME_S)),
    ]


def test_a_doubtful_word_is_told_from_sure_ones():
    """Confidence is per word, and the verse's lies between."""
    emissions = _said("ab cd")
    emissions[6:9] = _said("cd", certainty=0.4)[:3]
    (reading,) = _read(emissions)
    sure, doubtful = reading.words
    assert doubtful.confidence < 0.5 < sure.confidence
    assert doubtful.confidence < reading.confidence < sure.confidence


def test_blanks_do_not_drown_the_confidence():
    """Fifty sure blanks and one guess make a guess."""
    (reading,) = _read(np.concatenate([_emissions(*[BLANK] * 50), _emissions(3, certainty=0.25)]))
    assert reading.text
    assert reading.confidence < 0.3


def test_silence_has_no_confidence():
    """Nothing was said with any certainty."""
    (reading,) = _read(_emissions(BLANK, BLANK))
    assert (reading.text, reading.words, reading.confidence) == ("", (), 0.0)


def test_the_language_model_decides_what_sounds_alike(tmp_path):
    """And does so after a round trip through a checkpoint."""
    model = CharacterModel.from_sentences(
        [VOCABULARY.encode("abc abd abc")] * 9, symbols=len(VOCABULARY), boundary=BLANK
    )
    reader = Reader(VOCABULARY, FRAME_S).with_language(Language(model), Weights(alpha=1.0))
    emissions = _said("abe")
    emissions[4] = np.log(np.where(np.arange(len(VOCABULARY)) < 3, 0.01, 0.12))
    emissions[4, VOCABULARY.encode("e")[0]] = np.log(0.2)
    reader.save(tmp_path)
    loaded = Reader.load(tmp_path, VOCABULARY, FRAME_S)
    assert [r.text for r in _read(emissions)] == ["abe"]
    assert [r.text for r in reader.read([emissions])] == ["abc"]
    assert loaded.read([emissions]) == reader.read([emissions])


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "no JSON",
        lambda _: "{}",
        lambda document: json.dumps({**document, "weights": {"alpha": 1, "beta": 0, "width": 0}}),
        lambda document: json.dumps(
            {**document, "words": {"weights": {"sound": 1, "magic": 1}, "shift": 0}}
        ),
    ],
)
def test_damaged_settings_are_refused(tmp_path, damage):
    """In words, instead of reading nonsense."""
    Reader(VOCABULARY, FRAME_S).save(tmp_path)
    document = json.loads((tmp_path / FILE_NAME).read_text("utf-8"))
    (tmp_path / FILE_NAME).write_text(damage(document), "utf-8")
    with pytest.raises(BadCheckpoint):
        Reader.load(tmp_path, VOCABULARY, FRAME_S)


def test_the_language_model_of_another_vocabulary_is_refused(tmp_path):
    """Its symbols would mean other letters."""
    model = CharacterModel.from_sentences([[1, 2]], symbols=4, boundary=0)
    Reader(VOCABULARY, FRAME_S).with_language(Language(model), Weights(alpha=1.0)).save(tmp_path)
    with pytest.raises(BadCheckpoint, match="another vocabulary"):
        Reader.load(tmp_path, VOCABULARY, FRAME_S)


def _known(words=("abc",)):
    """A reader whose language is only "abc", beside a list of words."""
    model = CharacterModel.from_sentences(
        [VOCABULARY.encode("abc")] * 9, symbols=len(VOCABULARY), boundary=BLANK
    )
    return Reader(VOCABULARY, FRAME_S).with_language(
        Language(model, frozenset(words)), Weights(alpha=0.1)
    )


def test_words_of_the_project_are_told_from_others():
    """With their punctuation or without; of a verse it is the share."""
    (reading,) = _known().read([_said("abc abd")])
    assert [evidence.known for evidence in reading.word_evidence] == [1.0, 0.0]
    assert reading.evidence.known == 0.5


def test_words_survive_a_checkpoint_and_may_be_missing(tmp_path):
    """Models of earlier workers have no list."""
    _known(("abc", "gh")).save(tmp_path)
    assert (tmp_path / WORDS_FILE).read_text("utf-8") == "abc\ngh\n"
    emissions = [_said("abc gh abd")]
    loaded = Reader.load(tmp_path, VOCABULARY, FRAME_S)
    assert loaded.read(emissions) == _known(("abc", "gh")).read(emissions)
    (tmp_path / WORDS_FILE).unlink()
    (reading,) = Reader.load(tmp_path, VOCABULARY, FRAME_S).read(emissions)
    assert (reading.text, reading.evidence.known) == ("abc gh abd", 0.0)


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_every_script_is_read_as_it_is_spoken(text, tmp_path):
    """Spaces, marks and joiners come out of a search with a stored language model and word list."""
    vocabulary = Vocabulary.from_texts([text])
    language = Language.from_texts(vocabulary, [text])
    Reader(vocabulary, FRAME_S).with_language(language, Weights(alpha=0.5)).save(tmp_path)
    (reading,) = Reader.load(tmp_path, vocabulary, FRAME_S).read(
        [_said(text, vocabulary=vocabulary)]
    )
    assert reading.text == spoken_form(text)
    assert [word.text for word in reading.words] == spoken_form(text).split()
    assert reading.evidence.known == 1.0


def test_what_the_search_hesitated_over_is_known_word_by_word():
    """Two letters that are as likely make one word doubtful, not its neighbour."""
    emissions = _said("ab cd")
    d, e = VOCABULARY.encode("de")
    emissions[8, [d, e]] = np.log([0.45, 0.44])
    (reading,) = _known().read([emissions])
    sure, doubtful = reading.word_evidence
    assert doubtful.agreement < 2 * sure.agreement < 0
    assert doubtful.clarity < sure.clarity


def test_calibrations_of_earlier_workers_are_read(tmp_path):
    """Three numbers in a list: sound, language, and what is no longer asked for."""
    Reader(VOCABULARY, FRAME_S).save(tmp_path)
    document = json.loads((tmp_path / FILE_NAME).read_text("utf-8"))
    document["verses"] = {"weights": [0.5, 0.25, 0.1], "shift": 1.5}
    (tmp_path / FILE_NAME).write_text(json.dumps(document), "utf-8")
    verses = Reader.load(tmp_path, VOCABULARY, FRAME_S).decoding.verses
    assert verses == Calibration(Evidence(sound=0.5, language=0.25), 1.5)


def test_without_settings_reading_is_greedy(tmp_path):
    """As older checkpoints are read."""
    reader = Reader.load(tmp_path, VOCABULARY, FRAME_S)
    assert reader.read([_said("ab")]) == _read(_said("ab"))


def test_a_text_without_room_cannot_be_placed():
    """Two equal letters need three frames."""
    with pytest.raises(ValueError, match="no room"):
        align(_emissions(3, 3), [3, 3], BLANK)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("holy holy holy is the lord", False),
        ("and and and and he went", True),
        ("he said to them he said to them he said to them he said to them", True),
        ("one two three four five six seven eight nine ten", False),
        ("เขาเขาเขาเขา", True),
        ("tiehtiehtiehtieh", True),
        ("mmmmmmmmmm", True),
        ("10000 and 2000", False),
        ("and and and and", True),
        ("", False),
    ],
)
def test_a_stuck_recogniser_is_noticed(text, repeats):
    """Four times the same is a fault, three times may be scripture."""
    assert has_repetition(text) is repeats
