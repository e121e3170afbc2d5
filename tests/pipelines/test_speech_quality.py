"""The quality gate: good speech passes, each kind of failure is caught. And how texts are cut and joined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.sound import tone
from support.speech import spoken_clips

from pipelines.audio.decode import Samples, decode
from pipelines.audio.loudness import CEILING, bring_to, limit_peaks, rms_db
from pipelines.tts import phrases
from pipelines.tts.quality import Attempt, problems
from pipelines.tts.stabletts.config import SAMPLE_RATE
from pipelines.tts.stabletts.mel import log_mel

CLIPS = [clip for clip in spoken_clips() if clip.text]


def attempt(samples: Samples, symbols: int, symbols_per_s: float | None = None) -> Attempt:
    """A rendering with its mel."""
    mel = log_mel(torch.from_numpy(samples)).numpy()
    return Attempt(samples, SAMPLE_RATE, mel, symbols, symbols_per_s)


def read(number: int) -> Samples:
    """A recorded clip at the model's rate."""
    return decode(CLIPS[number].path, SAMPLE_RATE).samples


@pytest.mark.parametrize("number", range(len(CLIPS)), ids=lambda n: CLIPS[n].path.stem)
def test_recorded_speech_passes(number: int) -> None:
    """A gate that stops people would stop good renderings too."""
    assert problems(attempt(read(number), len(CLIPS[number].text), 14.0)) == ()


def test_silence_is_stopped() -> None:
    """As is anything too soft to hear."""
    soft = 1e-4 * tone(2.0, SAMPLE_RATE)
    assert problems(attempt(soft, 20)) == ("nothing can be heard",)
    assert problems(replace(attempt(soft, 20), samples=soft[:0])) == ("nothing can be heard",)


def test_a_long_gap_is_stopped() -> None:
    """Speech that falls silent in the middle."""
    samples = np.concatenate([read(1), np.zeros(3 * SAMPLE_RATE, np.float32), read(1)])
    assert any("falls silent for 3." in problem for problem in problems(attempt(samples, 80)))


def test_distortion_is_stopped() -> None:
    """Flat tops, at whatever level."""
    loud = 0.3 * np.clip(read(1) * 10, -1, 1)
    assert any("distorted" in problem for problem in problems(attempt(loud, 40)))


@pytest.mark.parametrize(
    ("symbols", "pace", "problem"),
    [(400, 14.0, "too short"), (400, None, "too short"), (3, 14.0, "too long"), (1, None, "too")],
)
def test_implausible_durations_are_stopped(symbols: int, pace: float | None, problem: str) -> None:
    """By the voice's own pace, or by what any language may have."""
    found = problems(attempt(read(1), symbols, pace))
    assert any(problem in one for one in found)


def test_a_held_tone_is_stopped() -> None:
    """A voice that got stuck on one sound."""
    speech = read(1)
    stuck = np.concatenate([speech, 0.1 * tone(2.5, SAMPLE_RATE, 200.0)])
    assert any("over and over" in problem for problem in problems(attempt(stuck, 60)))


def test_a_loop_is_stopped() -> None:
    """A voice that says the same word again and again."""
    frames = 512 * 40
    word = read(1)[SAMPLE_RATE // 4 :][:frames]
    looped = np.concatenate([read(1), *[word] * 6])
    assert any("over and over" in problem for problem in problems(attempt(looped, 100)))


def test_a_word_said_twice_is_no_loop() -> None:
    """Verily, verily."""
    word = read(1)[SAMPLE_RATE // 4 :][: SAMPLE_RATE // 2]
    assert problems(attempt(np.concatenate([read(1), word, word]), 50)) == ()


def test_quiet_sound_is_lifted_and_peaks_are_held_back() -> None:
    """The level is reached; nothing exceeds the ceiling; soft parts keep their shape."""
    samples = 0.01 * tone(2.0, SAMPLE_RATE)
    samples[SAMPLE_RATE] = 0.9
    levelled = bring_to(samples, -20.0, SAMPLE_RATE)
    assert np.abs(levelled).max() <= CEILING + 1e-6
    assert rms_db(bring_to(0.01 * tone(2.0, SAMPLE_RATE), -20.0, SAMPLE_RATE)) == pytest.approx(-20)
    far = slice(0, SAMPLE_RATE // 2)
    ratio = levelled[far][100:200] / samples[far][100:200]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_sound_below_the_ceiling_is_left_alone() -> None:
    """The limiter costs nothing where it is not needed."""
    samples = tone(0.5, SAMPLE_RATE)
    assert limit_peaks(samples, SAMPLE_RATE) is samples


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("short", ["short"]),
        ("One two three. Four five six.", ["One two three.", "Four five six."]),
        ("one two three, four five six", ["one two three,", "four five six"]),
        ("one two three four five six", ["one two three", "four five six"]),
        ("በመጀመሪያ፡እግዚአብሔር።ሰማይንና፡ምድርን።", ["በመጀመሪያ፡እግዚአብሔር።", "ሰማይንና፡ምድርን።"]),
        ("“Go!” he said. “Now.”", ["“Go!” he said.", "“Now.”"]),
    ],
)
def test_texts_are_cut_where_a_reader_breathes(text: str, pieces: list[str]) -> None:
    """Sentences first, then clauses, then words."""
    assert phrases.split(text, 18, len) == pieces


def test_a_text_without_any_boundary_is_cut_between_letters() -> None:
    """Thai without spaces; no mark is torn from its letter."""
    text = "ในปฐมกาลพระเจ้าทรงเนรมิตสร้างฟ้าและแผ่นดิน"
    pieces = phrases.split(text, 10, len)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 11


def test_nothing_of_a_long_text_is_lost() -> None:
    """Whatever the size of the pieces."""
    text = " ".join(clip.text for clip in CLIPS)
    for most in (20, 77, 300):
        pieces = phrases.split(text, most, len)
        assert " ".join(pieces).split() == text.split()
        assert max(map(len, pieces)) <= most


def test_joined_pieces_have_short_pauses_and_no_clicks() -> None:
    """Silence at the seams is one breath long, and the edges fade."""
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    piece = np.concatenate([quiet, tone(1.0, SAMPLE_RATE), quiet])
    joined = phrases.join([piece, piece], SAMPLE_RATE)
    assert len(joined) / SAMPLE_RATE == pytest.approx(2.6, abs=0.05)
    assert joined[0] == joined[-1] == 0
    assert len(phrases.join([quiet, quiet], SAMPLE_RATE)) == 0
