"""The original training recipe's arithmetic: learning rates and length buckets.

Knows step numbers and lengths only. Our own training uses the schedule; the buckets are here for runs that must
see the same batches as the original did.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import torch

BUCKET_BOUNDS = (32, 300, 400, 500, 600, 700, 800, 900, 1_000)  # frames; lower ends are excluded


def rate_factor(step: int, warmup: int, total: int) -> float:
    """Return the learning rate of a step relative to its peak: linear rise, cosine fall."""
    if step < warmup:
        return step / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * progress))


def fill_buckets(
    lengths: Sequence[int], bounds: Sequence[int] = BUCKET_BOUNDS
) -> tuple[list[list[int]], list[int]]:
    """Sort items into length buckets; those outside every bucket are in none.

    Returns:
        Indices per non-empty bucket, and the bounds that are left once an empty bucket is merged
        into the one below.
    """
    buckets: list[list[int]] = [[] for _ in bounds[1:]]
    for index, length in enumerate(lengths):
        slot = bisect_left(bounds, length) - 1
        if 0 <= slot < len(buckets):
            buckets[slot].append(index)
    filled = [i for i, bucket in enumerate(buckets) if bucket]
    return [buckets[i] for i in filled], [bounds[0], *(bounds[i + 1] for i in filled)]


def bucket_batches(
    buckets: Sequence[Sequence[int]],
    batch_size: int,
    *,
    epoch: int,
    rank: int = 0,
    world_size: int = 1,
) -> list[list[int]]:
    """Return the shuffled batches of one process in one epoch.

    A bucket that does not fill its last round of batches repeats its own items.
    """
    generator = torch.Generator().manual_seed(epoch)
    batches: list[list[int]] = []
    orders = [torch.randperm(len(b), generator=generator).tolist() for b in buckets]
    for bucket, order in zip(buckets, orders, strict=True):
        round_size = world_size * batch_size
        wanted = math.ceil(len(bucket) / round_size) * round_size
        repeated = (order * math.ceil(wanted / len(order)))[:wanted]
        mine = [bucket[i] for i in repeated[rank::world_size]]
        batches += [mine[i : i + batch_size] for i in range(0, len(mine), batch_size)]
    shuffled = torch.randperm(len(batches), generator=generator).tolist()
    return [batches[i] for i in shuffled]
