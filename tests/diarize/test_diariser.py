"""Who speaks when, heard in real recordings with real weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from support.diarisation import diarisation_errors

from pipelines.asr.diarize.diariser import VoiceDiariser
from pipelines.asr.diarize.turns import SpeakerCount, from_rttm
from pipelines.asr.diarize.voices import load
from pipelines.audio.decode import decode, decode_blocks
from pipelines.errors import AudioUnreadable, BadCheckpoint, ModelNotFound

SPEECH = Path(__file__).parents[1] / "data/speech"
DIALOGUE = SPEECH / "dialogue_2spk.flac"


@pytest.fixture(scope="module")
def diariser() -> VoiceDiariser:
    """The default one, with the weights of the package."""
    return VoiceDiariser()


def spoken_after_another(tmp_path: Path, *names: str) -> Path:
    """One recording of several clips, equally loud, with pauses."""
    parts: list[np.ndarray] = []
    for name in names:
        samples = decode(SPEECH / f"{name}.flac").samples
        parts += [0.7 * samples / np.abs(samples).max(), np.zeros(6400, np.float32)]
    path = tmp_path / "together.wav"
    sf.write(path, np.concatenate(parts), 16_000)
    return path


def test_a_dialogue_is_divided_between_its_two_speakers(
    diariser: VoiceDiariser, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six turns in order; nobody's words are given to the other."""
    true = from_rttm(DIALOGUE.with_suffix(".rttm").read_text())

    found = diariser.turns(decode_blocks(DIALOGUE))

    assert [turn.speaker for turn in found] == ["SPEAKER_00", "SPEAKER_01"] * 3
    errors = diarisation_errors(found, true)
    with capsys.disabled():
        sys.stderr.write(
            f"\ndialogue of two: {errors.confused:.1%} given to the wrong speaker, "
            f"{errors.missed:.1%} not labelled (pauses within turns count)\n"
        )
    assert errors.confused < 0.02


@pytest.mark.parametrize(
    ("names", "speakers"),
    [
        (["jfk_inaugural"], 1),
        (["LJ001-0001", "LJ001-0005"], 1),
        (["austen_0870", "austen_0880"], 1),
        (["LJ001-0001", "jfk_inaugural", "austen_0870", "LJ001-0004"], 3),
    ],
)
def test_as_many_speakers_come_out_as_went_in(
    diariser: VoiceDiariser, tmp_path: Path, names: list[str], speakers: int
) -> None:
    """Nobody said how many there are."""
    found = diariser.turns(decode_blocks(spoken_after_another(tmp_path, *names)))

    assert len({turn.speaker for turn in found}) == speakers
    assert found[0].speaker == found[-1].speaker == "SPEAKER_00"


def test_a_known_number_of_speakers_is_kept_to(diariser: VoiceDiariser) -> None:
    """Exactly, at most, at least."""
    for wanted, count in [
        (SpeakerCount(exactly=1), 1),
        (SpeakerCount(most=1), 1),
        (SpeakerCount(exactly=3), 3),
        (SpeakerCount(least=2, most=4), 2),
    ]:
        assert (
            len({turn.speaker for turn in diariser.turns(decode_blocks(DIALOGUE), wanted)}) == count
        )


def test_a_long_recording_is_read_in_blocks_with_the_same_speakers() -> None:
    """A speaker keeps the name across blocks."""
    found = VoiceDiariser(block_s=11.0).turns(decode_blocks(DIALOGUE))

    assert {turn.speaker for turn in found} == {"SPEAKER_00", "SPEAKER_01"}
    true = from_rttm(DIALOGUE.with_suffix(".rttm").read_text())
    assert diarisation_errors(found, true).confused < 0.05


def test_silence_has_no_speakers(diariser: VoiceDiariser, tmp_path: Path) -> None:
    """No turn is invented."""
    sf.write(tmp_path / "silence.wav", np.zeros(48_000), 16_000)

    assert diariser.turns(decode_blocks(tmp_path / "silence.wav")) == ()


def test_what_is_no_recording_is_refused_by_name(diariser: VoiceDiariser, tmp_path: Path) -> None:
    """As everywhere."""
    (tmp_path / "talk.wav").write_bytes(b"no sound at all")

    with pytest.raises(AudioUnreadable, match=r"talk\.wav"):
        diariser.turns(decode_blocks(tmp_path / "talk.wav"))


def test_weights_that_are_not_these_are_refused(tmp_path: Path) -> None:
    """Nothing in a file is executed; what is missing is named."""
    torch.save({"model_state": {"other": torch.zeros(1)}}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("hello")

    for name in ("other.pt", "text.pt"):
        with pytest.raises(BadCheckpoint, match=name):
            load(tmp_path / name)
    with pytest.raises(ModelNotFound, match=r"absent\.pt"):
        load(tmp_path / "absent.pt")
