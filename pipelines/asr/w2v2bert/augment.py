"""SpecAugment: a few spans of time and bands of mel bins of padded features are blanked in training.

Zero is the mean of the normalised features. Networks that hear waves have no mel bins: they put a learnt
vector over spans of what their convolutions give, as they did in pre-training. The masks are a function of a
seed, so that a resumed run draws the same ones. Axis letters: n recordings, t frames, f values (two stacked
mel frames). Park et al. 2019, "SpecAugment: A Simple Data Augmentation Method for ASR".
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor, nn

from pipelines.asr.w2v2bert.config import FRAME_S
from pipelines.asr.w2v2bert.processor import MEL_BINS

MASK_S = 0.4
MASK_BINS = 12
LARGEST_SHARE = 0.15
"""No span blanks more than this share of a recording."""
WAVE_SHARE = 0.05
"""About this share of a recording is masked for a network that hears waves (0.2 s at a time, twice or more)."""


def mask_features(
    features: Tensor, lengths: list[int], *, time_masks: int, feature_masks: int, seed: str
) -> Tensor:
    """Return a masked copy; features: (n, t, f), lengths: frames of each recording."""
    dice = random.Random(seed)
    masked = features.clone()
    longest = round(MASK_S / FRAME_S)
    for row, length in enumerate(lengths):
        for _ in range(time_masks):
            width = dice.randint(0, min(longest, int(length * LARGEST_SHARE)))
            start = dice.randint(0, length - width)
            masked[row, start : start + width] = 0.0
        for _ in range(feature_masks):
            width = dice.randint(0, MASK_BINS)
            start = dice.randint(0, MEL_BINS - width)
            for stacked in (0, MEL_BINS):
                masked[row, :, stacked + start : stacked + start + width] = 0.0
    return masked


def mask_own_features(network: nn.Module) -> None:
    """Let a network that hears waves mask what its convolutions give, while it learns."""
    encoder: Any = network
    # A base that was never masked has no vector for it.
    encoder.config.apply_spec_augment = hasattr(encoder.wav2vec2, "masked_spec_embed")


@contextmanager
def masks_from(seed: str) -> Iterator[None]:
    """Make the masks inside a function of the seed: `transformers` takes them from numpy's global dice."""
    before = np.random.get_state()
    np.random.seed(zlib.crc32(seed.encode()))
    try:
        yield
    finally:
        np.random.set_state(before)
