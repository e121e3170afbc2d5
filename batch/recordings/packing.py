"""Packs of recordings: short ones travel together, since a model decodes many verses in the time of one.

Pure: sizes in, groups out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from batch.recordings.source import Asset

MOST_FILES = 32
MOST_BYTES = 8 << 20
"""Of files: about half an hour of compressed speech, a few minutes of WAV."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Files that go through the stages together."""

    assets: tuple[Asset, ...]


def pack(assets: Iterable[Asset], most_files: int = MOST_FILES) -> Iterator[Pack]:
    """Group neighbours; a file of unknown or large size travels alone."""
    group: list[Asset] = []
    room = MOST_BYTES
    for asset in assets:
        size = MOST_BYTES if asset.size is None else asset.size
        if group and (size > room or len(group) == most_files):
            yield Pack(tuple(group))
            group, room = [], MOST_BYTES
        group.append(asset)
        room -= size
    if group:
        yield Pack(tuple(group))
