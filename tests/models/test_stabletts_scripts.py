"""Every script goes from text to sound and into a file and back; what a voice does not know is reported."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.progress import ignore_progress
from pipelines.tts.stabletts.config import ModelConfig
from pipelines.tts.stabletts.flow import SamplingOptions
from pipelines.tts.stabletts.griffin_lim import GriffinLim
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.reference import Reference
from pipelines.tts.stabletts.synthesize import Speaker, SpeakingConfig, Spoken, Verse
from pipelines.tts.stabletts.text import compose
from pipelines.tts.stabletts.vocabulary import build, cover, visible
from pipelines.tts.stabletts.voice import Voice, load_voice

SCRIPTS = {
    "Latin with tone marks": ("Ní àtètèkọ́ṣe ni Ọ̀rọ̀ wà", "ж"),
    "Cyrillic": ("В начале было Слово, ёж", "ł"),
    "Devanagari": ("आदि में वचन था", "ॐ"),
    "Ethiopic": ("በመጀመሪያ ቃል ነበረ", "ጰ"),
    "Arabic": ("فِي الْبَدْءِ كَانَ الْكَلِمَةُ", "ظ"),
    "Thai": ("ในปฐมกาลพระวาทะดำรงอยู่", "ฬ"),
}
FRAMES_PER_TOKEN = 1.0  # logarithm; about what a reader takes


@pytest.fixture(params=SCRIPTS)
def language(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A text, and a letter that it does not have."""
    return SCRIPTS[request.param]


@pytest.fixture
def voice(language: tuple[str, str], tmp_path: Path) -> Voice:
    """An untrained voice for the text, saved and opened again."""
    vocabulary = build([language[0]])
    torch.manual_seed(5)
    model = StableTTS(replace(ModelConfig.tiny(), n_vocab=len(vocabulary)))
    with torch.no_grad():
        model.dp.proj.bias.fill_(FRAMES_PER_TOKEN)
    Voice(model, vocabulary).save(tmp_path / "voice.safetensors")
    return load_voice(tmp_path / "voice.safetensors")


def spoken(voice: Voice, *texts: str) -> list[Spoken]:
    """What becomes of texts, in their order."""
    mel = torch.randn(voice.model.config.n_mels, 120, generator=torch.Generator().manual_seed(1))
    config = SpeakingConfig(SamplingOptions(steps=2), tries=1, precision="float32")
    speaker = Speaker(voice, GriffinLim(), Reference(mel, "somebody"), config)
    verses = [Verse(str(number), text) for number, text in enumerate(texts)]
    return sorted(speaker.speak(verses, ignore_progress), key=lambda one: int(one.id))


def letters(text: str) -> list[str]:
    """Letters and marks of a text."""
    return [
        sign for sign in unicodedata.normalize("NFD", text) if unicodedata.category(sign)[0] in "LM"
    ]


def test_a_saved_voice_spells_every_letter(language: tuple[str, str], voice: Voice) -> None:
    """From text to rows, through the file, to text again."""
    text, _ = language
    encoded = voice.vocabulary.encode(text)
    assert encoded.unknown == encoded.digits == ()
    spelt = compose([voice.vocabulary.tokens[row] for row in encoded.ids[1::2]])
    assert letters(spelt) == letters(text.casefold())


def test_every_letter_takes_its_time(language: tuple[str, str], voice: Voice) -> None:
    """No row of the text is skipped on the way to sound."""
    ids = torch.tensor([voice.vocabulary.encode(language[0]).ids])
    mel = torch.zeros(1, voice.model.config.n_mels, 120)
    with torch.inference_mode():
        c = voice.model.voice(mel)
        prior, frames, _ = voice.model.plan(ids, torch.tensor([ids.shape[1]]), c)
    assert int(frames[0]) >= ids.shape[1]
    assert prior.mu.shape[-1] == int(frames[0])


def test_a_known_text_is_spoken_and_nothing_is_held_against_it(
    language: tuple[str, str], voice: Voice
) -> None:
    """It has sound, of a length that fits its letters."""
    (whole,) = spoken(voice, language[0])
    assert whole.problem is None
    assert whole.flags == ()
    assert whole.samples is not None


def test_what_a_voice_does_not_know_is_reported(language: tuple[str, str], voice: Voice) -> None:
    """A letter is flagged and the rest is spoken; a number stops the verse."""
    text, foreign = language
    flagged, numbered = spoken(voice, f"{text} {foreign}", f"{text} 7")
    (shown,) = {visible(sign) for sign in voice.vocabulary.encode(foreign).unknown}
    assert flagged.flags == (f"the voice does not know {shown}",)
    assert flagged.samples is not None
    assert numbered.problem == "nobody said how to read 7"
    report = cover(voice.vocabulary, {"1": text, "2": f"{text} {foreign}", "3": f"{text} 7"})
    assert (report.unknown_in, report.digits_in) == (("2",), ("3",))
