"""Samples as the model's input, for bases that hear waves: wav2vec 2.0, XLS-R, MMS.

Each recording is brought to mean 0 and variance 1, as those models were trained. Axis letter: t samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from transformers import Wav2Vec2FeatureExtractor

from pipelines.asr.w2v2bert.config import SAMPLE_RATE_HZ
from pipelines.asr.w2v2bert.processor import Features
from pipelines.audio.decode import Samples


class WaveExtractor:
    """The front end of wav2vec 2.0: one value in a row, a row for every sample."""

    input_name = "input_values"
    size = 1
    row_s = 1.0 / SAMPLE_RATE_HZ

    def __call__(self, samples: Samples) -> Features:
        """Normalised samples, (t, 1)."""
        values = samples.astype(np.float32)
        normalised: Features = (values - values.mean()) / np.sqrt(values.var() + 1e-7)
        return normalised[:, None].astype(np.float32)

    def save(self, directory: Path) -> None:
        """Write `preprocessor_config.json`."""
        Wav2Vec2FeatureExtractor(
            sampling_rate=SAMPLE_RATE_HZ, do_normalize=True, return_attention_mask=True
        ).save_pretrained(directory)
