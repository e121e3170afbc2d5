"""From clips to training examples: what is left out, and why; what is masked, and how."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from support.sound import tone
from support.speech import spoken_clip

from pipelines.asr.w2v2bert.augment import mask_features
from pipelines.asr.w2v2bert.config import tiny
from pipelines.asr.w2v2bert.dataset import at_other_speeds, prepare
from pipelines.asr.w2v2bert.outliers import Measured, outliers
from pipelines.asr.w2v2bert.processor import FEATURE_SIZE, FeatureExtractor, pad
from pipelines.asr.w2v2bert.split import split
from pipelines.asr.w2v2bert.task import TRAINING_FACTS, VALIDATION_CLIPS
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.audio.decode import decode
from pipelines.errors import EmptyCorpus
from pipelines.progress import ignore_progress
from pipelines.training.clips import Clip

RATE = 16_000


def _prepare(tmp_path, *clips, **settings):
    vocabulary = Vocabulary.from_texts(["abcdefghijklmnopqrstuvwxyz"])
    config = replace(tiny(), **settings)
    return prepare(clips, vocabulary, config, tmp_path / "features", ignore_progress)


def _recording(path, samples):
    soundfile.write(path, samples, RATE)
    return path


def test_each_unusable_clip_is_left_out_with_its_reason(tmp_path):
    """One reason each, in words for a translator."""
    good = spoken_clip("LJ001-0002")
    rubbish = tmp_path / "rubbish.wav"
    rubbish.write_bytes(b"nothing")
    clips = [
        Clip("good", good.path, good.text),
        Clip("rubbish", rubbish, "word"),
        Clip("silent", _recording(tmp_path / "s.wav", np.zeros(RATE, np.float32)), "word"),
        Clip("short", _recording(tmp_path / "k.wav", tone(0.1)), "word"),
        Clip("long", _recording(tmp_path / "l.wav", tone(6.0)), "word"),
        Clip("mute", good.path, "…"),
        Clip("rushed", good.path, good.text * 5),
    ]
    corpus = _prepare(tmp_path, *clips, max_clip_s=5.0)
    assert [example.id for example in corpus.examples] == ["good"]
    reasons = {clip.id: clip.reason for clip in corpus.skipped}
    assert "could not be read" in reasons["rubbish"]
    assert "silent" in reasons["silent"]
    assert "only 0.1 s" in reasons["short"]
    assert "6 s long" in reasons["long"]
    assert "no letters" in reasons["mute"]
    assert "too short for its text" in reasons["rushed"]


def _measured(number, **fields):
    values = {
        "id": f"MAT 1:{number}",
        "text": "x" * (60 + number),
        "duration_s": 5.0,
        "loud_share": 0.9,
        "foreign_share": 0.0,
        "digest": str(number),
    }
    return Measured(**{**values, **fields})


def test_what_does_not_fit_the_rest_is_left_out_with_its_reason():
    """Too fast, too slow, mostly silent, in other letters, and copies with another text."""
    usual = [_measured(number) for number in range(20)]
    odd = {
        "rushed": (
            _measured(1, id="rushed", digest="rushed", text="x" * 200),
            "40.0 characters for a second",
        ),
        "dragged": (
            _measured(1, id="dragged", digest="dragged", duration_s=30.0),
            "2.0 characters for a second",
        ),
        "silent": (
            _measured(1, id="silent", digest="silent", loud_share=0.05),
            "5% of the recording",
        ),
        "foreign": (
            _measured(1, id="foreign", digest="foreign", foreign_share=0.7),
            "letters that the other",
        ),
        "copy": (_measured(1, id="copy", text="y" * 62, digest="7"), "MAT 1:7 has the same"),
    }
    found = outliers([*usual, *(clip for clip, _ in odd.values())])
    assert set(found) == {*odd, "MAT 1:7"}
    for name, (_, reason) in odd.items():
        assert reason in found[name]


def test_usual_verses_and_copies_with_the_same_text_stay():
    """Speech rates differ by a third, and a refrain is recorded once."""
    clips = [_measured(number, duration_s=4.0 + number / 10) for number in range(20)]
    assert outliers([*clips, replace(clips[3], id="refrain")]) == {}
    assert outliers([_measured(1), _measured(2, text="x" * 600)]) == {}


def test_numbers_that_are_too_rare_to_learn_are_left_out(tmp_path):
    """The text says "40", the recording "forty"."""
    good = spoken_clip("LJ001-0002")
    clips = [Clip("good", good.path, good.text), Clip("number", good.path, "40 days")]
    corpus = _prepare(tmp_path, *clips)
    assert [example.id for example in corpus.examples] == ["good"]
    assert "numbers in digits" in corpus.skipped[0].reason


def test_other_speeds_are_shorter_and_longer_versions_of_a_clip(tmp_path):
    """Each with features of its own; one without room for its text is not made."""
    spoken = spoken_clip("LJ001-0002")
    clip = Clip("a", spoken.path, spoken.text)
    corpus = _prepare(tmp_path, clip)
    (example,) = at_other_speeds(corpus, corpus.examples, [clip], (0.9, 1.1, 8.0), ignore_progress)
    slow, fast = example.take(1), example.take(2)
    assert len(example.at_other_speeds) == 2
    assert slow.frames == pytest.approx(example.frames / 0.9, abs=3)
    assert fast.frames == pytest.approx(example.frames / 1.1, abs=3)
    assert len(corpus.features.read(fast)) == fast.frames
    assert example.take(0) == example


def test_a_training_that_goes_on_is_measured_on_the_same_clips(tmp_path):
    """The split is part of the model."""
    clip = spoken_clip("LJ001-0002")
    (example,) = _prepare(tmp_path, Clip("a", clip.path, clip.text)).examples
    examples = [replace(example, id=str(n), group=str(n // 5), digest=str(n)) for n in range(40)]
    config = replace(tiny(), validation_fraction=0.2, min_validation_clips=5)
    _, first = split(examples, config, None)
    held = {example.id for example in first}
    (tmp_path / TRAINING_FACTS).write_text(json.dumps({VALIDATION_CLIPS: sorted(held)}))
    training, again = split(examples, replace(config, seed=9), tmp_path)
    assert {example.id for example in again} == held
    assert not held & {example.id for example in training}
    (tmp_path / TRAINING_FACTS).write_text("rubbish")
    assert len(split(examples, config, tmp_path)[1]) == len(first)


def test_what_was_learnt_from_is_not_measured_on(tmp_path):
    """One recording may stand for two verses, of which one is in a chapter that was kept back."""
    clip = spoken_clip("LJ001-0002")
    (example,) = _prepare(tmp_path, Clip("a", clip.path, clip.text)).examples
    examples = [
        replace(example, id=str(n), group=str(n // 5), digest=str(n % 39)) for n in range(40)
    ]
    config = replace(tiny(), validation_fraction=0.2, min_validation_clips=5)
    for seed in range(12):
        training, held = split(examples, replace(config, seed=seed), None)
        assert not {one.digest for one in training} & {one.digest for one in held}
        assert len(training) + len(held) == len(examples)


def test_a_text_in_another_language_is_told_by_its_letters():
    """Of the same alphabet and length; sentences of the project, usual or not, stay."""
    dice = random.Random(1)
    syllables = [consonant + vowel for consonant in "bdgklmnprst" for vowel in "aeiou"]
    words = ["".join(dice.choices(syllables, k=dice.randint(1, 3))) for _ in range(80)]
    texts = [" ".join(dice.choices(words, k=8)) for _ in range(120)]
    clips = [
        _measured(number, text=text, duration_s=len(text) / 13) for number, text in enumerate(texts)
    ]
    english = "stars arm masked men and old lords at night"
    foreign = _measured(500, id="foreign", text=english, duration_s=len(english) / 13)
    short = _measured(501, id="short", text="night", duration_s=5 / 13)
    found = outliers([*clips, foreign, short])
    assert list(found) == ["foreign"]
    assert "another language" in found["foreign"]


def test_doubled_letters_need_room(tmp_path):
    """CTC needs a frame more for each."""
    sound = _recording(tmp_path / "t.wav", tone(1.0))
    fits, bursts = "ab" * 12, "aa" * 12
    corpus = _prepare(tmp_path, Clip("fits", sound, fits), Clip("bursts", sound, bursts))
    assert [example.id for example in corpus.examples] == ["fits"]


def test_without_one_usable_clip_the_reasons_are_named(tmp_path):
    """The failure is not just "empty"."""
    silence = _recording(tmp_path / "s.wav", np.zeros(RATE, np.float32))
    with pytest.raises(EmptyCorpus, match="silent"):
        _prepare(tmp_path, Clip("a", silence, "word"))


def test_features_on_disk_are_those_of_the_recording(tmp_path):
    """Nothing is mixed up between clips."""
    clips = [spoken_clip(name) for name in ("LJ001-0002", "LJ001-0008")]
    corpus = _prepare(tmp_path, *(Clip(clip.path.stem, clip.path, clip.text) for clip in clips))
    extract = FeatureExtractor()
    for clip, example in zip(clips, corpus.examples, strict=True):
        expected = extract(decode(clip.path).samples)
        assert np.array_equal(corpus.features.read(example), expected)
        assert example.frames == len(expected)
        assert example.frames == pytest.approx(clip.seconds * 50, abs=3)


def test_features_are_normalised_and_even():
    """For any length, so that no batch reads beyond its clip."""
    extract = FeatureExtractor()
    for seconds in (0.31, 1.0, 1.03, 2.5):
        features = extract(decode(spoken_clip("LJ001-0002").path).samples[: round(seconds * RATE)])
        assert features.shape[1] == FEATURE_SIZE
        assert len(features) % 2 == 0
        assert abs(float(features.mean())) < 0.1


def test_masks_follow_their_seed_and_stay_in_bounds():
    """A resumed run draws the same masks; no clip is wiped out."""
    features = torch.ones(2, 400, FEATURE_SIZE)

    def masked(seed):
        return mask_features(features, [400, 60], time_masks=2, feature_masks=1, seed=seed)

    assert torch.equal(masked("a"), masked("a"))
    assert not torch.equal(masked("a"), masked("b"))
    assert (features == 1).all()
    blanked = (masked("a")[1, :60] == 0).all(dim=1).float().mean()
    assert blanked <= 0.3


def test_no_masks_change_nothing():
    """The tiny preset trains on what was said."""
    features = torch.rand(1, 50, FEATURE_SIZE)
    assert torch.equal(
        mask_features(features, [50], time_masks=0, feature_masks=0, seed="x"), features
    )


def test_padding_is_marked():
    """The mask says where sound ends."""
    short, long = (np.ones((frames, FEATURE_SIZE), np.float32) for frames in (4, 10))
    batch = pad([short, long])
    assert batch.mask.sum(dim=1).tolist() == [4, 10]
    assert float(batch.features[0, 4:].abs().sum()) == 0.0
