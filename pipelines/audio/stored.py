"""Decoded sound that waits on disk: mono, 16-bit samples, no header, read piece by piece.

Half the bytes of what is computed with, and more exact than any recording. Knows no formats of recordings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pipelines.audio.decode import Samples

SAMPLE_BYTES = 2
FULL_SCALE = 32_767
PIECE_SAMPLES = 1 << 20


def store(blocks: Iterable[Samples], path: Path) -> int:
    """Write sound as it comes; returns the number of samples."""
    count = 0
    with path.open("wb") as file:
        for block in blocks:
            count += len(block)
            (np.clip(block, -1.0, 1.0) * FULL_SCALE).astype("<i2").tofile(file)
    return count


class StoredSound:
    """A file of samples; what is read of it is in memory, the rest is not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._samples = path.stat().st_size // SAMPLE_BYTES

    def __len__(self) -> int:
        """How many samples there are."""
        return self._samples

    def __getitem__(self, part: slice) -> Samples:
        """Read a stretch, as from an array."""
        start, end, _ = part.indices(self._samples)
        return self.read(start, max(0, end - start))

    def read(self, start: int = 0, count: int = -1) -> Samples:
        """Read some samples from a place on, or all that follow."""
        stored = np.fromfile(self._path, dtype="<i2", offset=start * SAMPLE_BYTES, count=count)
        return stored.astype(np.float32) / np.float32(FULL_SCALE)

    def pieces(self) -> Iterator[Samples]:
        """Read all of it, a minute at a time."""
        for start in range(0, self._samples, PIECE_SAMPLES):
            yield self.read(start, PIECE_SAMPLES)
