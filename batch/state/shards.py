"""Splits a batch over machines that do not talk to each other, and joins their states afterwards.

Every runner sees the whole list and takes its own part of it by the same rule, so no two take one file.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path

from batch.recordings.source import Asset
from batch.state.file import StateFile, read_state
from batch.state.record import Record, Status

TYPICAL_BYTES = 1 << 20
"""For a file of unknown size."""
_PREFERENCE = (Status.COMPLETE, Status.FAILED, Status.CANCELED)
"""Of two records of one file, that of the earlier word counts."""


def shard(assets: Sequence[Asset], part: int, parts: int) -> list[Asset]:
    """The part's files, in their order; parts have about the same amount of sound.

    The largest file goes to the emptiest part, and so on; ties go by name and number, so that the result
    depends on nothing but the list.
    """
    loads = [(0, number) for number in range(1, parts + 1)]
    mine = set()
    for asset in sorted(assets, key=lambda asset: (-_weight(asset), asset.name)):
        load, number = heapq.heappop(loads)
        heapq.heappush(loads, (load + _weight(asset), number))
        if number == part:
            mine.add(asset.name)
    return [asset for asset in assets if asset.name in mine]


def merge(sources: Iterable[Path], target: Path) -> int:
    """Join states into one; returns how many files it knows.

    Raises:
        BatchError: one of them is damaged or in use.
    """
    merged: dict[str, Record] = {}
    for source in sources:
        for name, record in read_state(source).items():
            if name not in merged or _rank(record) < _rank(merged[name]):
                merged[name] = record
    with StateFile(target) as state:
        state.records.update(merged)
        return len(state.records)


def _weight(asset: Asset) -> int:
    return asset.size if asset.size is not None else TYPICAL_BYTES


def _rank(record: Record) -> int:
    if record.status in _PREFERENCE:
        return _PREFERENCE.index(record.status)
    return len(_PREFERENCE)
