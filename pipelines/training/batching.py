"""Which clips go together: batches of like length, as many as fit a frame budget.

Padding is wasted work (random batches of 8 verses waste two thirds) and attention wastes its square,
so clips are sorted by length and *batches* are shuffled. A constant number of frames a batch also
keeps memory constant. Everything is a function of the seed and the epoch: nothing to save or restore.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

Batch = tuple[int, ...]
"""Indices of clips, longest first."""

LENGTH_JITTER = 0.05
"""Lengths are sorted as if they were up to this much longer, so that epochs mix neighbours."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Batches over all clips, largest first; `lengths` are frames per clip."""

    batches: tuple[Batch, ...]
    lengths: tuple[int, ...]

    @property
    def padding_waste(self) -> float:
        """Padded frames beyond the real ones, as a share of the real ones."""
        padded = sum(self.frames_of(batch) for batch in self.batches)
        real = sum(self.lengths)
        return padded / real - 1.0 if real else 0.0

    def frames_of(self, batch: Batch) -> int:
        """Frames of a batch, padding included."""
        return len(batch) * max(self.lengths[index] for index in batch)


def plan_batches(
    lengths: Sequence[int], frames_per_batch: int, *, order: Sequence[int] | None = None
) -> BatchPlan:
    """Fill batches up to a frame budget; a clip longer than the budget gets one of its own.

    `order` overrides the sorting (longest first).
    """
    by_length = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[Batch] = []
    current: list[int] = []
    for index in order if order is not None else by_length:
        longest = max((lengths[member] for member in (*current, index)), default=0)
        if current and longest * (len(current) + 1) > frames_per_batch:
            batches.append(tuple(current))
            current = []
        current.append(index)
    if current:
        batches.append(tuple(current))
    plan = BatchPlan(tuple(batches), tuple(lengths))
    largest_first = sorted(batches, key=plan.frames_of, reverse=True)
    return BatchPlan(tuple(largest_first), plan.lengths)


def plan_epoch(
    lengths: Sequence[int], frames_per_batch: int, *, seed: int, epoch: int
) -> BatchPlan:
    """Batches of one training epoch in shuffled order.

    The very first batch of a run is the largest one: if memory is too small, that shows at once.
    """
    dice = random.Random(f"{seed}/{epoch}")
    jittered = [length * (1.0 + LENGTH_JITTER * dice.random()) for length in lengths]
    order = sorted(range(len(lengths)), key=lambda index: -jittered[index])
    plan = plan_batches(lengths, frames_per_batch, order=order)
    batches = list(plan.batches)
    first = batches[:1] if epoch == 0 else []
    rest = batches[len(first) :]
    dice.shuffle(rest)
    return BatchPlan((*first, *rest), plan.lengths)


def group_steps(batches: Sequence[Batch], accumulate: int) -> tuple[tuple[Batch, ...], ...]:
    """Batches whose gradients are added up before one optimiser step."""
    return tuple(
        tuple(batches[start : start + accumulate]) for start in range(0, len(batches), accumulate)
    )
