"""Samples to the model's input: 160 log-mel values every 20 ms, normalised per recording.

Axis letters: n recordings, t frames, f values per frame (160). Uses the feature extractor that the
base model was trained with; its settings are fixed, so nothing has to be fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import SeamlessM4TFeatureExtractor

from pipelines.asr.w2v2bert.config import FRAME_S, SAMPLE_RATE_HZ
from pipelines.audio.decode import Samples

Features = NDArray[np.float32]
"""One recording, (t, f)."""

MEL_BINS = 80
STACKED = 2
FEATURE_SIZE = MEL_BINS * STACKED
MIN_SAMPLES = round(0.1 * SAMPLE_RATE_HZ)
"""Normalising needs a few frames; shorter recordings hold no word."""


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """Recordings of one batch, zero-padded at the end."""

    features: Tensor
    """(n, t, f) float32."""
    mask: Tensor
    """(n, t) int64, 1 where there is sound."""


class FrontEnd(Protocol):
    """What a family of base models does with sound before the network."""

    input_name: str
    """What the network calls its input."""
    size: int
    """Values in a row."""
    row_s: float
    """Time from row to row."""

    def __call__(self, samples: Samples) -> Features:
        """Rows of mono samples at 16 kHz."""

    def save(self, directory: Path) -> None:
        """Write `preprocessor_config.json`."""


class FeatureExtractor:
    """The mel front end of W2v-BERT 2.0."""

    input_name = "input_features"
    size = FEATURE_SIZE
    row_s = FRAME_S

    def __init__(self) -> None:
        self._extractor = SeamlessM4TFeatureExtractor(
            feature_size=MEL_BINS,
            num_mel_bins=MEL_BINS,
            sampling_rate=SAMPLE_RATE_HZ,
            stride=STACKED,
            padding_value=0.0,
        )

    def __call__(self, samples: Samples) -> Features:
        """Features of mono samples at 16 kHz, at least `MIN_SAMPLES` of them; result (t, f), t even.

        The adapter's convolution has stride 2 and would read one frame beyond an odd end: padding,
        whose content depends on the rest of the batch. So an odd recording ends with a doubled frame.
        """
        output = self._extractor(samples, sampling_rate=SAMPLE_RATE_HZ, return_tensors="np")
        mask = output["attention_mask"][0].astype(bool)
        features: Features = output["input_features"][0][mask].astype(np.float32)
        return np.concatenate([features, features[-1:]]) if len(features) % 2 else features

    def save(self, directory: Path) -> None:
        """Write `preprocessor_config.json`."""
        self._extractor.save_pretrained(directory)


def pad(recordings: Sequence[Features]) -> PaddedBatch:
    """Stack recordings of different length."""
    longest = max(len(features) for features in recordings)
    padded = torch.zeros(len(recordings), longest, recordings[0].shape[1])
    mask = torch.zeros(len(recordings), longest, dtype=torch.int64)
    for row, features in enumerate(recordings):
        padded[row, : len(features)] = torch.from_numpy(features)
        mask[row, : len(features)] = 1
    return PaddedBatch(padded, mask)
