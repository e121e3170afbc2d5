"""The text corrector: what it learns, when it is dropped, how it is stored."""

from __future__ import annotations

import json
import random

import pytest
import torch

from pipelines.asr.corrector import network, proof
from pipelines.asr.corrector.corrector import Corrector
from pipelines.asr.corrector.edits import Action, walk
from pipelines.asr.corrector.noise import Mishearing
from pipelines.asr.corrector.proof import Material, prove
from pipelines.errors import BadCheckpoint
from pipelines.text.metrics import error_rates
from pipelines.text.normalize import spoken_form

pytestmark = pytest.mark.timeout(600)  # seconds of work, minutes on a busy machine

NAMES = ("Abra", "Yishak", "Noe", "Mose")
WORDS = ("waro", "kitu", "hena", "balimo", "sute", "eri", "dano", "gowe")


def _noop():
    pass


def _verses(seed, count):
    """Verses of a small language with names, commas and full stops."""
    dice = random.Random(seed)
    verses = []
    for _ in range(count):
        first = [dice.choice(WORDS) for _ in range(3)]
        last = [dice.choice(NAMES), *(dice.choice(WORDS) for _ in range(2))]
        verses.append(f"{' '.join(first).capitalize()}, {' '.join(last)}.")
    return verses


def _misheard(text, dice, share=0.06):
    """As a recogniser without capitals and punctuation hears it: "o" for "u" and other slips."""
    letters = []
    for letter in spoken_form(text):
        if dice.random() < share:
            letters.append({"u": "o", "b": "p", "g": "k"}.get(letter, ""))
        else:
            letters.append(letter)
    return "".join(letters)


def _heard(verses, seed):
    dice = random.Random(seed)
    return [(_misheard(verse, dice), verse) for verse in verses]


@pytest.fixture
def quick(monkeypatch):
    """A fraction of the usual training, enough for the smallest languages."""
    monkeypatch.setattr(network, "BATCH", 128)
    monkeypatch.setattr(network, "MOST_STEPS", 120)
    monkeypatch.setattr(network, "LEAST_STEPS", 120)
    monkeypatch.setattr(proof, "MOST_TEXTS", 80)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def corrector(quick):
    """One that has learnt the small language's spelling."""
    return Corrector.trained(_heard(_verses(1, 120), 1))


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ("in the beginning", "In the beginning."),
        ("", "Amen."),
        ("extra words", ""),
        ("nagit ang diyos", "Nagingat, ang Diyos!"),
        ("इब्राहीम ने कहा", "इब्राहीम ने कहा।"),
        ("straße", "STRASSE"),
        ("الله قال", "اللّٰه قال؛"),
    ],
)
def test_the_decisions_of_a_walk_lead_from_one_text_to_the_other(heard, written):
    """Replayed one after the other, in any script."""
    output, rest = [], [*heard, "\x03"]
    for step in walk(heard, written):
        assert step.context[0] == ord(rest[0])
        if step.action is Action.INSERT:
            output.append(chr(step.written))
            continue
        letter = rest.pop(0)
        if step.action is not Action.DELETE:
            change = {Action.UPPER: str.upper, Action.LOWER: str.lower}.get(step.action, str)
            output.append(change(letter))
    assert "".join(output) == f"{written}\x03"
    assert rest == []


def test_capitals_commas_and_final_stops_come_back(corrector):
    """On verses that it has not seen."""
    pairs = _heard(_verses(2, 40), 2)
    corrected = corrector.correct([heard for heard, _ in pairs])
    said = [verse for _, verse in pairs]
    before = error_rates(said, [heard for heard, _ in pairs]).cer
    assert error_rates(said, corrected).cer < 0.5 * before
    assert sum(text.endswith(".") for text in corrected) > 35


def test_company_does_not_change_a_correction(corrector):
    """Stepping together gives what stepping alone gives; an empty text stays empty."""
    texts = [heard for heard, _ in _heard(_verses(3, 12), 3)] + ["", "zzz ʘ 日本"]
    assert corrector.correct(texts) == [corrector.correct([text])[0] for text in texts]
    assert corrector.correct([""]) == [""]


def test_letters_it_never_saw_are_copied(corrector):
    """A foreign word is not taken apart."""
    (text,) = corrector.correct(["waro 日本語 kitu hena"])
    assert "日本語" in text


def test_it_survives_a_checkpoint(corrector, tmp_path):
    """As JSON and safetensors."""
    corrector.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    texts = [heard for heard, _ in _heard(_verses(4, 5), 4)]
    loaded = Corrector.load(tmp_path)
    assert loaded is not None
    assert loaded.correct(texts) == corrector.correct(texts)


def test_a_checkpoint_without_one_has_none(tmp_path):
    """Most have none."""
    assert Corrector.load(tmp_path) is None


@pytest.mark.parametrize("settings", ["rubbish", "{}", '{"context": 9, "characters": [1]}', "[]"])
def test_a_damaged_one_is_refused(corrector, tmp_path, settings):
    """In words."""
    corrector.save(tmp_path)
    (tmp_path / network.SETTINGS).write_text(settings, "utf-8")
    with pytest.raises(BadCheckpoint, match="corrector"):
        Corrector.load(tmp_path)


def test_weights_of_another_one_are_refused(corrector, tmp_path):
    """Sizes must fit the characters."""
    corrector.save(tmp_path)
    document = json.loads((tmp_path / network.SETTINGS).read_text("utf-8"))
    document["characters"] = document["characters"][:-1]
    (tmp_path / network.SETTINGS).write_text(json.dumps(document), "utf-8")
    with pytest.raises(BadCheckpoint, match="corrector"):
        Corrector.load(tmp_path)


def test_texts_are_misheard_as_the_recogniser_does(quick):
    """The same letters, about as often."""
    pairs = [(heard, spoken_form(said)) for heard, said in _heard(_verses(5, 200), 5)]
    mishearing = Mishearing(pairs)
    dice = random.Random(0)
    said = [spoken_form(verse) for verse in _verses(6, 100)]
    real = error_rates([s for _, s in pairs], [h for h, _ in pairs]).cer
    imagined = error_rates(said, [mishearing.distort(text, dice) for text in said]).cer
    assert imagined == pytest.approx(real, rel=0.3)
    assert "p" in "".join(mishearing.distort("b" * 200, dice))


def test_what_helps_is_kept(quick):
    """With held-out verses and other text of the project."""
    material = Material(_heard(_verses(7, 18), 7), _verses(8, 80), spoken_form)
    result = prove(material, _noop)
    assert result.corrector is not None
    assert result.cer_after < result.cer_before


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_it_never_makes_held_out_verses_worse(quick, seed):
    """Ten languages whose errors cannot be learnt: whatever is kept does no harm to new verses.

    What was heard has every capital and stop already, and slips that are pure chance.
    """
    dice = random.Random(seed)

    def slip(verse):
        return "".join(dice.choice("xqzvj") if dice.random() < 0.1 else c for c in verse)

    verses = ["".join(dice.choice("abcdefgh ") for _ in range(30)) for _ in range(48)]
    heard = [(slip(verse), " ".join(verse.split())) for verse in verses]
    result = prove(Material(heard[:18], (), str), _noop, seed=seed)
    if result.corrector is not None:
        fresh = heard[18:]
        said = [verse for _, verse in fresh]
        corrected = result.corrector.correct([text for text, _ in fresh])
        before = error_rates(said, [text for text, _ in fresh]).cer
        assert error_rates(said, corrected).cer <= before


def test_without_recordings_the_texts_are_the_judges(quick):
    """Capitals and punctuation can be learnt from text alone."""
    result = prove(Material((), _verses(9, 90), spoken_form), _noop)
    assert result.corrector is not None
    assert result.cer_after < result.cer_before


def test_too_little_text_proves_nothing(quick):
    """Then there is no corrector, and no figure."""
    assert prove(Material((), ["One verse."], spoken_form), _noop) == proof.Proof(None)


def test_texts_that_need_no_correction_get_none(quick):
    """A language without capitals and punctuation, heard perfectly."""
    verses = [spoken_form(verse) for verse in _verses(10, 40)]
    result = prove(Material([(verse, verse) for verse in verses], (), spoken_form), _noop)
    assert result.corrector is None
