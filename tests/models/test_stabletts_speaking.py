"""Verses spoken in batches: the same as alone, cut and joined, retried, at the project's loudness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.speech import spoken_clip, spoken_clips
from torch import Tensor, nn

from pipelines.audio.decode import decode
from pipelines.audio.loudness import rms_db
from pipelines.errors import ModelNotFound, PipelineError
from pipelines.progress import ignore_progress
from pipelines.training.clips import Clip
from pipelines.tts.stabletts.base import find_base
from pipelines.tts.stabletts.config import SAMPLE_RATE, ModelConfig, VocosConfig
from pipelines.tts.stabletts.dataset import Corpus, Limits, prepare
from pipelines.tts.stabletts.flow import SamplingOptions
from pipelines.tts.stabletts.griffin_lim import GriffinLim
from pipelines.tts.stabletts.mel import log_mel
from pipelines.tts.stabletts.model import StableTTS
from pipelines.tts.stabletts.reference import Reference, choose, hear
from pipelines.tts.stabletts.solvers import Solver
from pipelines.tts.stabletts.synthesize import Speaker, SpeakingConfig, Spoken, Verse
from pipelines.tts.stabletts.vocabulary import build
from pipelines.tts.stabletts.vocos import Vocos
from pipelines.tts.stabletts.voice import Voice, load_voice

TEXTS = ["baba", "a bab, abba ba. ab", "ab", "bab a bab aba babab"]
CONFIG = SpeakingConfig(SamplingOptions(steps=3), tokens_per_batch=200, precision="float32")


@pytest.fixture(scope="module")
def voice() -> Voice:
    """Weights as drawn: it mumbles, but every part works."""
    torch.manual_seed(7)
    vocabulary = build(TEXTS)
    sizes = replace(ModelConfig.tiny(len(vocabulary)), p_dropout=0.0)
    model = StableTTS(sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # zero gates would make every block an identity
            parameter.add_(0.02 * torch.randn_like(parameter))
        model.dp.proj.bias.fill_(1.0)
    return Voice(model, vocabulary, {"loudness_db": -26.0})


@pytest.fixture(scope="module")
def reference() -> Reference:
    """One second of noise."""
    return Reference(torch.randn(128, 86, generator=torch.Generator().manual_seed(1)), "MAT 1:1")


class Echo(nn.Module):
    """A vocoder for tests: sounds that follow from the mel alone, and a count of the mels seen."""

    def __init__(self, amplitude: float = 0.3, spoil_first: int = 0) -> None:
        super().__init__()
        self.amplitude, self.spoil_first, self.calls = amplitude, spoil_first, 0

    def forward(self, mel: Tensor) -> Tensor:
        self.calls += 1
        if self.calls <= self.spoil_first:
            return torch.zeros(len(mel), mel.shape[2] * 512)
        wave = torch.tanh(mel.transpose(1, 2)).repeat(1, 1, 4).flatten(1)
        return self.amplitude * wave


def speak(speaker: Speaker, *texts: str) -> dict[str, Spoken]:
    """Speak texts whose ids are the texts."""
    spoken = list(speaker.speak([Verse(text, text) for text in texts], ignore_progress))
    assert sorted(one.id for one in spoken) == sorted(texts)
    return {one.id: one for one in spoken}


@pytest.mark.parametrize("solver", [Solver.EULER, Solver.MIDPOINT])
def test_a_verse_sounds_the_same_among_others_and_alone(
    voice: Voice, reference: Reference, solver: Solver
) -> None:
    """Batching is an economy, not a change of voice."""
    config = replace(CONFIG, sampling=SamplingOptions(steps=3, solver=solver))
    together = speak(Speaker(voice, Echo(), reference, config), *TEXTS)
    for text in TEXTS:
        alone = speak(Speaker(voice, Echo(), reference, config), text)[text]
        assert alone.problem is None
        assert alone.samples is not None
        expected = together[text].samples
        assert expected is not None
        np.testing.assert_allclose(alone.samples, expected, atol=1e-5)


def test_the_chosen_steps_are_the_ones_taken(voice: Voice, reference: Reference) -> None:
    """Two calls per step: with and without the text."""
    calls: list[int] = []
    hook = voice.model.decoder.estimator.register_forward_hook(lambda *_: calls.append(1))
    speak(Speaker(voice, Echo(), reference, CONFIG), "ab")
    hook.remove()
    assert len(calls) == 2 * 3


def test_every_seed_is_its_own_and_repeats(voice: Voice, reference: Reference) -> None:
    """The same job gives the same bytes; another seed gives another rendering."""
    first, again, other = (
        speak(Speaker(voice, Echo(), reference, replace(CONFIG, seed=seed)), "bab")["bab"].samples
        for seed in (0, 0, 1)
    )
    assert first is not None
    assert other is not None
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_failed_rendering_is_tried_with_another_seed(voice: Voice, reference: Reference) -> None:
    """Silence first, sound the second time."""
    spoken = speak(Speaker(voice, Echo(spoil_first=1), reference, CONFIG), "baba")["baba"]
    assert (spoken.problem, spoken.tries) == (None, 2)


def test_what_fails_every_time_is_left_out_with_its_reason(
    voice: Voice, reference: Reference
) -> None:
    """No sound is better than a bad one; the others do not suffer."""
    silent = speak(Speaker(voice, Echo(spoil_first=9), reference, CONFIG), "baba")["baba"]
    assert (silent.samples, silent.tries) == (None, 3)
    assert silent.problem == "nothing can be heard"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "its text has nothing to say"),
        ("—!", "its text has nothing to say"),
        ("ab 40 ab", "nobody said how to read 4 0"),
        ("xyz zyx", "the voice does not know most of it: x y z"),
    ],
)
def test_texts_that_cannot_be_spoken_are_named(
    voice: Voice, reference: Reference, text: str, problem: str
) -> None:
    """Each with its reason, at once."""
    spoken = speak(Speaker(voice, Echo(), reference, CONFIG), text, "ab")
    assert spoken["ab"].samples is not None
    assert (spoken[text].problem, spoken[text].tries) == (problem, 0)


def test_a_single_unknown_letter_is_flagged(voice: Voice, reference: Reference) -> None:
    """It is spoken, and somebody should listen to it."""
    spoken = speak(Speaker(voice, Echo(), reference, CONFIG), "abab abab xbab")
    assert spoken["abab abab xbab"].flags == ("the voice does not know x",)


def test_a_long_verse_is_spoken_in_pieces(voice: Voice, reference: Reference) -> None:
    """One recording comes out, as long as its pieces together."""
    vocoder = Echo()
    config = replace(CONFIG, most_symbols=12)
    text = "ababa bab, bab aba bab. abba bab, baba."
    spoken = speak(Speaker(voice, vocoder, reference, config), text)[text]
    assert vocoder.calls > 2
    whole = speak(Speaker(voice, Echo(), reference, CONFIG), text)[text]
    assert spoken.samples is not None
    assert whole.samples is not None
    assert len(spoken.samples) == pytest.approx(len(whole.samples), rel=0.3)


@pytest.mark.parametrize("amplitude", [0.02, 0.9])
def test_loudness_is_the_projects_and_peaks_are_held_back(
    voice: Voice, reference: Reference, amplitude: float
) -> None:
    """Whatever the vocoder's level."""
    spoken = speak(Speaker(voice, Echo(amplitude), reference, CONFIG), "babab abab")["babab abab"]
    assert spoken.samples is not None
    assert rms_db(spoken.samples) == pytest.approx(-26.0, abs=0.5)
    assert np.abs(spoken.samples).max() <= 0.9


def test_mel_inversion_gives_back_what_was_said() -> None:
    """Recorded speech survives: its mel is close, and its voice is where it was."""
    samples = decode(spoken_clip("LJ001-0002").path, SAMPLE_RATE).samples
    mel = log_mel(torch.from_numpy(samples))
    with torch.inference_mode():
        wave = GriffinLim()(mel.unsqueeze(0))[0]
    assert wave.shape == (mel.shape[1] * 512,)
    assert float((log_mel(wave) - mel).abs().mean()) < 0.25
    assert float(wave.square().mean()) == pytest.approx(float(np.square(samples).mean()), rel=0.2)


def test_mel_inversion_of_one_frame_is_silence() -> None:
    """Nothing to analyse, nothing to fail."""
    assert not GriffinLim()(torch.zeros(1, 128, 1)).any()


def test_a_base_directory_brings_weights_and_vocoder(tmp_path: Path) -> None:
    """In the layout of the published release; without a vocoder, another one is named."""
    assert find_base("tiny").vocoder_name == "griffin-lim"
    with pytest.raises(ModelNotFound, match="no StableTTS weights"):
        find_base(str(tmp_path))
    for folder in ("StableTTS", "vocoders"):
        (tmp_path / folder).mkdir()
    (tmp_path / "StableTTS/checkpoint_0.pt").write_bytes(b"weights")
    assert find_base(str(tmp_path)).vocoder_name == "griffin-lim"
    small = VocosConfig(dim=8, intermediate_dim=16, num_layers=1)
    torch.save(Vocos(small).state_dict(), tmp_path / "vocoders/vocos.pt")
    base = find_base(str(tmp_path))
    assert base.acoustic == tmp_path / "StableTTS/checkpoint_0.pt"
    assert base.vocoder_name == "vocos"
    assert base.open_vocoder()(torch.zeros(1, 128, 4)).shape == (1, 2048)
    assert find_base(str(base.acoustic)) == base


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """All recorded clips; one has been buried in noise."""
    home = tmp_path_factory.mktemp("reference")
    clips = [Clip(clip.path.stem, clip.path, clip.text) for clip in spoken_clips() if clip.text]
    return prepare(clips, build([c.text for c in clips]), Limits(), home / "mels", ignore_progress)


def test_the_voice_is_a_typical_clip_and_always_the_same(corpus: Corpus) -> None:
    """Not the shortest, not the longest, whatever the order."""
    chosen = choose(corpus.examples)
    assert choose(corpus.examples[::-1]).id == chosen.id
    lengths = sorted(example.frames for example in corpus.examples)
    (frames,) = (example.frames for example in corpus.examples if example.id == chosen.id)
    assert lengths[len(lengths) // 5] <= frames <= lengths[-len(lengths) // 5]
    assert torch.equal(chosen.mel, next(e for e in corpus.examples if e.id == chosen.id).mel())


def test_a_noisy_clip_is_not_chosen(corpus: Corpus, tmp_path: Path) -> None:
    """The clip that would be chosen loses once hum fills its pauses."""
    chosen = choose(corpus.examples)
    clean = decode(spoken_clip(chosen.id).path, SAMPLE_RATE).samples
    noise = np.random.default_rng(0).normal(0, 0.03, len(clean)).astype(np.float32)
    soundfile.write(tmp_path / "noisy.wav", clean + noise, SAMPLE_RATE)
    clip = Clip(chosen.id, tmp_path / "noisy.wav", spoken_clip(chosen.id).text)
    noisy = prepare([clip], build([clip.text]), Limits(), tmp_path, ignore_progress).examples
    others = [example for example in corpus.examples if example.id != chosen.id]
    assert choose([*others, *noisy]).id != chosen.id


def test_a_chosen_voice_is_heard_or_refused_in_words(tmp_path: Path) -> None:
    """A person's choice is never replaced by another voice."""
    heard = hear(spoken_clip("LJ001-0002").path, "MAT 1:2")
    assert heard.mel.shape[0] == 128
    soundfile.write(tmp_path / "silent.wav", np.zeros(44_100), SAMPLE_RATE)
    with pytest.raises(PipelineError, match="cannot be used: the recording is silent"):
        hear(tmp_path / "silent.wav", "MAT 1:3")


def test_a_saved_voice_brings_the_recording_that_it_speaks_with(
    tmp_path: Path, voice: Voice, reference: Reference
) -> None:
    """One file is enough to speak."""
    replace(voice, reference=reference).save(tmp_path / "best_model.pt")
    again = load_voice(tmp_path / "best_model.pt")
    assert again.reference is not None
    assert again.reference.id == "MAT 1:1"
    assert torch.equal(again.reference.mel, reference.mel)
