"""CTC outputs to symbols: the best symbol of every frame, repeats merged, blanks dropped.

Axis letters: n recordings, u output frames, c symbols.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """Symbols of one recording, with the probability that each was given where it was emitted."""

    ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]

    @property
    def confidence(self) -> float:
        """Geometric mean over emitted symbols, 0…1; blanks would drown it. 0 when there are none."""
        if not self.log_probabilities:
            return 0.0
        return math.exp(sum(self.log_probabilities) / len(self.log_probabilities))


def join(hypotheses: Sequence[Hypothesis]) -> Hypothesis:
    """One hypothesis for the pieces of one recording."""
    return Hypothesis(
        tuple(index for hypothesis in hypotheses for index in hypothesis.ids),
        tuple(value for hypothesis in hypotheses for value in hypothesis.log_probabilities),
    )


def decode_greedily(logits: Tensor, lengths: Sequence[int], blank_id: int) -> list[Hypothesis]:
    """Decode a batch; logits: (n, u, c), lengths: valid output frames of each recording."""
    values, ids = torch.log_softmax(logits.float(), dim=-1).max(dim=-1)
    previous = torch.cat([torch.full_like(ids[:, :1], -1), ids[:, :-1]], dim=1)
    positions = torch.arange(ids.shape[1], device=ids.device)
    within = positions[None, :] < torch.tensor(lengths, device=ids.device)[:, None]
    emitted = (ids != blank_id) & (ids != previous) & within
    return [
        Hypothesis(tuple(row_ids[row].tolist()), tuple(row_values[row].tolist()))
        for row_ids, row_values, row in zip(ids.cpu(), values.cpu(), emitted.cpu(), strict=True)
    ]
