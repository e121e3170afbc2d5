"""Recordings of the same bytes: one is transcribed, the others get what it got.

Sizes that occur once need not be read. Knows the state's records and no outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from batch.flow import Outcome
from batch.recordings.fetch import content_hash
from batch.recordings.source import Asset
from batch.state.record import Record, Status

Copy = Callable[[Asset, str], Outcome]
"""Gives a recording the outputs of the file of that name; raises `OSError`."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A recording, and the file whose bytes it has."""

    asset: Asset
    original: str


def known_hash(asset: Asset) -> str | None:
    """A local recording's hash; None if it is elsewhere or cannot be read."""
    if asset.is_remote or asset.is_outside:
        return None
    try:
        return asset.sha256 or content_hash(asset.path)
    except OSError:
        return None


def apart(todo: Sequence[Asset], done: Mapping[str, Record]) -> tuple[list[Asset], list[Twin]]:
    """Divide what is to be done into originals and twins.

    Args:
        todo: in order; the first of equal ones is the original.
        done: finished files that a twin may copy.
    """
    originals = {record.sha256: name for name, record in done.items() if record.sha256}
    sizes = Counter(asset.size for asset in todo)
    sizes.update({record.size for record in done.values()})
    alone: list[Asset] = []
    twins: list[Twin] = []
    for asset in todo:
        found = known_hash(asset) if asset.size and sizes[asset.size] > 1 else None
        if found and found in originals:
            twins.append(Twin(replace(asset, sha256=found), originals[found]))
            continue
        if found:
            originals[found] = asset.name
        alone.append(replace(asset, sha256=found or ""))
    return alone, twins


def outcomes(
    twins: Iterable[Twin], records: Mapping[str, Record], copy: Copy
) -> Iterable[tuple[Twin, Outcome]]:
    """What becomes of twins once their originals are done; nothing of one whose original is not."""
    for twin in twins:
        original = records.get(twin.original, Record())
        if original.status is Status.FAILED:
            message = original.error_message or ""
            yield twin, Outcome(twin.asset, code=original.error_code, message=message)
        elif original.status is Status.COMPLETE:
            outcome = copy(twin.asset, twin.original)
            yield twin, replace(outcome, audio_s=original.audio_s)
