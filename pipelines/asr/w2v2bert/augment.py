"""SpecAugment on padded features: a few spans of time and bands of mel bins are blanked.

Zero is the mean of the normalised features. The masks are a function of a seed, so that a resumed
run draws the same ones. Axis letters: n recordings, t frames, f values (two stacked mel frames).
Park et al. 2019, "SpecAugment: A Simple Data Augmentation Method for ASR".
"""

from __future__ import annotations

import random

from torch import Tensor

from pipelines.asr.w2v2bert.config import FRAME_S
from pipelines.asr.w2v2bert.processor import MEL_BINS

MASK_S = 0.4
MASK_BINS = 12
LARGEST_SHARE = 0.15
"""No span blanks more than this share of a recording."""


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
