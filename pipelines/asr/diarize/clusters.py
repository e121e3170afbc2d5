"""Group voice vectors by speaker: average linkage on cosine similarity, in bounded memory.

For vectors of length one, the mean similarity of all pairs of two groups is the dot product of the
groups' means. So a group is its mean and its weight, and groups of one block of a recording can be
grouped again across blocks with the very same rule: memory follows the block, not the recording.
Knows no sound. Axis letters: n groups, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.asr.diarize.turns import SpeakerCount

Vectors = NDArray[np.float64]
Labels = NDArray[np.int64]

SAME_VOICE = 0.60
"""Mean similarity above which two groups are one speaker (distance 0.40, measured on dialogues of two
and three speakers: 0.30, 0.35 and 0.45 each merged or split one)."""
SURELY_SAME = 0.80
"""Within a block only what is as alike as one speaker's sentences; the rest is decided over all."""


def group_blocks(blocks: Sequence[Vectors], speakers: SpeakerCount) -> Labels:
    """One label for every vector of every block (n, d), in order."""
    within = [merge(block, np.ones(len(block)), SURELY_SAME, SpeakerCount()) for block in blocks]
    means, weights = [], []
    for block, labels in zip(blocks, within, strict=True):
        for label in range(int(labels.max(initial=-1)) + 1):
            members = block[labels == label]
            means.append(members.mean(axis=0))
            weights.append(len(members))
    if not means:
        return np.zeros(0, np.int64)
    across = merge(np.stack(means), np.array(weights, np.float64), SAME_VOICE, speakers)
    offset, parts = 0, []
    for labels in within:
        parts.append(across[labels + offset])
        offset += int(labels.max(initial=-1)) + 1
    return np.concatenate(parts)


def merge(
    means: Vectors, weights: NDArray[np.float64], alike: float, speakers: SpeakerCount
) -> Labels:
    """Join the two most similar groups until none is as `alike`, within the number of speakers.

    Returns:
        A label (n) for every group that came in, from 0 without gaps.
    """
    means, weights = means.astype(np.float64, copy=True), weights.astype(np.float64, copy=True)
    owner = np.arange(len(means))
    similarity = means @ means.T
    np.fill_diagonal(similarity, -np.inf)
    left = len(means)
    while left > speakers.lowest:
        one, other = np.unravel_index(int(similarity.argmax()), similarity.shape)
        too_many = speakers.highest is not None and left > speakers.highest
        wanted = speakers.exactly is not None
        if similarity[one, other] < alike and not (too_many or wanted):
            break
        weight = weights[one] + weights[other]
        means[one] = (means[one] * weights[one] + means[other] * weights[other]) / weight
        weights[one] = weight
        owner[owner == other] = one
        row = means @ means[one]
        gone = np.isneginf(similarity[:, one]) & (np.arange(len(row)) != one)
        row[gone] = -np.inf
        row[[one, other]] = -np.inf
        similarity[one], similarity[:, one] = row, row
        similarity[other], similarity[:, other] = -np.inf, -np.inf
        left -= 1
    return np.unique(owner, return_inverse=True)[1].astype(np.int64)
