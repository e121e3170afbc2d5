"""Trimming and cutting at pauses."""

from __future__ import annotations

import numpy as np
import pytest
from support.sound import tone

from pipelines.audio.silence import KEPT_S, is_silent, pauses, trim

RATE = 16_000


def _pieces(sound, longest_s):
    return np.split(sound, pauses(sound, RATE, longest_s))


def _hiss(seconds, level=1e-3):
    noise = np.random.default_rng(1).standard_normal(round(seconds * RATE))
    return (level * noise).astype(np.float32)


def test_silence_at_the_ends_is_cut_but_not_to_the_bone():
    """Soft first and last sounds need a margin."""
    speech = tone(1.0)
    trimmed = trim(np.concatenate([_hiss(2.0), speech, _hiss(3.0)]), RATE)
    assert len(trimmed) / RATE == pytest.approx(1.0 + 2 * KEPT_S, abs=0.05)


def test_a_pause_inside_stays():
    """Only the ends are cut."""
    sound = np.concatenate([tone(0.5), _hiss(1.0), tone(0.5)])
    assert len(trim(sound, RATE)) == len(sound)


def test_a_quiet_recording_is_trimmed_like_a_loud_one():
    """The threshold follows the recording's own level."""
    sound = np.concatenate([_hiss(1.0, 1e-5), 0.01 * tone(1.0), _hiss(1.0, 1e-5)])
    assert len(trim(sound, RATE)) / RATE == pytest.approx(1.0 + 2 * KEPT_S, abs=0.05)


@pytest.mark.parametrize("silence", [np.zeros(0, np.float32), np.zeros(RATE, np.float32)])
def test_silence_is_nothing(silence):
    """Digital silence and no samples at all are both empty."""
    assert is_silent(silence, RATE)
    assert len(trim(silence, RATE)) == 0


def test_long_recordings_are_cut_in_their_pauses():
    """No piece is too long, nothing is lost, no word is cut."""
    words = [tone(1.3, frequency_hz=200 + 50 * number) for number in range(9)]
    pause = _hiss(0.4)
    sound = np.concatenate([part for word in words for part in (word, pause)])
    pieces = _pieces(sound, 5.0)
    assert len(pieces) > 2
    assert max(map(len, pieces)) <= 5.0 * RATE
    assert np.array_equal(np.concatenate(pieces), sound)
    for piece in pieces[:-1]:
        assert float(np.abs(piece[-RATE // 20 :]).max()) < 0.01


def test_a_recording_without_pauses_is_cut_all_the_same():
    """The limit holds for any sound."""
    pieces = _pieces(tone(12.0), 5.0)
    assert [len(piece) <= 5.0 * RATE for piece in pieces] == [True] * len(pieces)
    assert sum(map(len, pieces)) == 12 * RATE


def test_a_short_recording_stays_whole():
    """Nothing to do, nothing done."""
    sound = tone(3.0)
    (piece,) = _pieces(sound, 5.0)
    assert np.array_equal(piece, sound)
