"""Spectrogram, resampling and vocoders give the original's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import parity
from support.parity import array, close, group

from pipelines.tts.stabletts import mel, weights
from pipelines.tts.stabletts.config import FireflyConfig, VocosConfig
from pipelines.tts.stabletts.firefly import FireflyGAN
from pipelines.tts.stabletts.resample import resample
from pipelines.tts.stabletts.vocos import Vocos


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    """Return one second that starts with digital silence."""
    return array("mel/wav_int16").float() / 32_768


def test_log_mel(waveform: torch.Tensor) -> None:
    """The whole front end at the published settings."""
    close(mel.log_mel(waveform), array("mel/log_mel"), 1e-4)


def test_magnitudes(waveform: torch.Tensor) -> None:
    """The linear spectrogram before the filters."""
    close(mel.linear_magnitude(waveform)[:, ::8], array("mel/linear_magnitude_every8"), 1e-4)


def test_filter_bank() -> None:
    """Slaney scale and area normalisation."""
    bank = mel.mel_filters(128)
    close(bank.sum(dim=1), array("mel/filterbank_sum_per_band"), 1e-5)
    close(bank.max(dim=1).values, array("mel/filterbank_max"), 1e-6)
    assert torch.equal(bank.argmax(dim=1), array("mel/filterbank_argmax"))


def test_batches_and_single_waveforms_give_the_same_mel(waveform: torch.Tensor) -> None:
    """The sign of a waveform does not matter either."""
    both = mel.log_mel(torch.stack((waveform, -waveform)))
    close(both[0], mel.log_mel(waveform), 1e-5)
    close(both[1], both[0], 1e-5)


def test_a_click_is_too_short_for_a_mel() -> None:
    """Reflection needs more samples than it adds."""
    with pytest.raises(ValueError, match="at least 769 samples"):
        mel.log_mel(torch.zeros(768))


@pytest.mark.parametrize("case", [name for name in parity.names("resample/") if "_to_" in name])
def test_resampling(case: str) -> None:
    """Three rates to ours, and ours to the one of WebM."""
    source, target = map(int, case.split("_to_"))
    close(resample(array("resample/source"), source, target), array(f"resample/{case}"), 2e-5)


def test_equal_rates_change_nothing(waveform: torch.Tensor) -> None:
    """Not even a copy is made."""
    assert resample(waveform, 44_100, 44_100) is waveform


@pytest.fixture(scope="module")
def firefly_state() -> dict[str, torch.Tensor]:
    """Return weights with their gains and directions."""
    return group("ffgan/sd")


@torch.inference_mode()
def test_vocos() -> None:
    """Backbone and audio; the window may be missing from the file."""
    vocoder = weights.load_vocoder(group("vocos/sd"))
    assert isinstance(vocoder, Vocos)
    assert vocoder.config == VocosConfig(n_mels=20, dim=24, intermediate_dim=40, num_layers=2)
    expected = array("vocos/audio")
    close(vocoder.backbone(array("vocos/mel")), array("vocos/backbone"), 1e-5)
    close(vocoder(array("vocos/mel")), expected, 1e-4 * float(expected.abs().max()))


@torch.inference_mode()
def test_firefly_gan(firefly_state: dict[str, torch.Tensor]) -> None:
    """Backbone and audio, with sizes read from the shapes."""
    vocoder = weights.load_vocoder(firefly_state)
    assert isinstance(vocoder, FireflyGAN)
    assert vocoder.config == FireflyConfig(
        n_mels=20, depths=(1, 1, 2, 1), dims=(8, 12, 16, 24), initial_channels=32
    )
    expected = array("ffgan/audio")
    close(vocoder.backbone(array("vocos/mel")), array("ffgan/backbone"), 1e-5)
    close(vocoder(array("vocos/mel")), expected, 1e-4 * float(expected.abs().max()))


def test_old_names_of_weight_norm_load_alike(firefly_state: dict[str, torch.Tensor]) -> None:
    """Files from before PyTorch 2 are accepted."""
    renamed = {
        name.replace(".parametrizations.weight.original0", ".weight_g").replace(
            ".parametrizations.weight.original1", ".weight_v"
        ): tensor
        for name, tensor in firefly_state.items()
    }
    assert renamed.keys() != firefly_state.keys()
    new, old = weights.fold_weight_norm(firefly_state), weights.fold_weight_norm(renamed)
    assert new.keys() == old.keys()
    assert all(torch.equal(new[name], old[name]) for name in new)


def test_published_vocoder_sizes() -> None:
    """Entries and parameters of the published files."""
    with torch.device("meta"):
        vocos, firefly = Vocos(VocosConfig()), FireflyGAN(FireflyConfig())
    assert len(vocos.state_dict()) == 81
    assert sum(p.numel() for p in vocos.parameters()) == 14_157_314
    gains = sum(
        p.shape[0] for name, p in firefly.head.named_parameters() if name.endswith("weight")
    )
    assert sum(p.numel() for p in firefly.parameters()) + gains == 36_511_330


def test_every_vocoder_speaks_512_samples_per_frame(
    firefly_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Straight from a file."""
    for i, state in enumerate((group("vocos/sd"), firefly_state)):
        torch.save(state, tmp_path / f"{i}.pt")
        vocoder = weights.load_vocoder(weights.read_state(tmp_path / f"{i}.pt"))
        with torch.inference_mode():
            assert vocoder(torch.zeros(1, 20, 7)).shape == (1, 7 * 512)
