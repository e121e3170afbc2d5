"""From features to emissions: the network run over any number of recordings, in batches.

Long recordings come in pieces that overlap. What a piece says near a cut is thrown away where its
neighbour heard the same with sound on both sides, so a cut never changes a word, and the pieces'
emissions in a row are the whole recording's. Axis letters: n recordings, t frames, u output frames,
c symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from pipelines.asr.w2v2bert.config import SAMPLE_RATE_HZ
from pipelines.asr.w2v2bert.language_model import Scores
from pipelines.asr.w2v2bert.model import Recogniser
from pipelines.asr.w2v2bert.processor import Features, pad
from pipelines.audio.decode import Samples
from pipelines.audio.silence import pauses
from pipelines.training.batching import plan_batches

BATCH_S = 120.0
"""Seconds of padded audio in one batch, which keep a GPU busy."""
BATCH_ON_CPU_S = 16.0
"""A CPU is busy with one verse; more of them leave its cache and take a tenth longer each."""
LONGEST_PIECE_S = 15.0
"""Attention costs the square of the length, so longer recordings are cut, in their pauses …"""
OVERLAP_S = 1.0
"""… with this much of the neighbour heard on either side."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Features of one part of a recording; `skip` and `keep` count output frames."""

    features: Features
    skip: int = 0
    """Frames that the piece before says better."""
    keep: int | None = None
    """Frames from there on; None: all."""


class Listener:
    """A network on its device."""

    def __init__(
        self,
        recogniser: Recogniser,
        *,
        batch_s: float = BATCH_S,
        longest_piece_s: float = LONGEST_PIECE_S,
    ) -> None:
        """Take the network as it is; it must be on its device already."""
        self._batch_s = min(batch_s, BATCH_ON_CPU_S) if recogniser.is_on_cpu else batch_s
        self._longest_piece_s = longest_piece_s
        self._recogniser = recogniser
        self._extract = recogniser.front_end()

    def cut(self, samples: Samples) -> tuple[Piece, ...]:
        """Features of a recording, in pieces that fit a batch."""
        step = round(self._recogniser.output_s * SAMPLE_RATE_HZ)
        cuts = [
            cut // step * step for cut in pauses(samples, SAMPLE_RATE_HZ, self._longest_piece_s)
        ]
        overlap = round(OVERLAP_S * SAMPLE_RATE_HZ) // step * step
        edges = [0, *cuts, len(samples)]
        pieces = []
        for begin, end in pairwise(edges):
            start = max(0, begin - overlap)
            sound = samples[start : end + overlap]
            is_last = end == len(samples)
            keep = None if is_last else (end - begin) // step
            pieces.append(Piece(self._extract(sound), (begin - start) // step, keep))
        return tuple(pieces)

    @torch.inference_mode()
    def emissions(
        self, pieces: Sequence[Piece], poll: Callable[[], None]
    ) -> Iterator[tuple[int, Scores]]:
        """Log-probabilities (u, c) of each piece with its number, in the order they are ready."""
        lengths = [len(piece.features) for piece in pieces]
        for batch in plan_batches(lengths, round(self._batch_s / self._extract.row_s)).batches:
            poll()
            inputs = pad([pieces[index].features for index in batch])
            logits = self._recogniser(inputs).logits
            log_p = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
            for row, index in enumerate(batch):
                yield (
                    index,
                    _kept(
                        log_p[row], pieces[index], self._recogniser.output_frames(lengths[index])
                    ),
                )

    def hear(self, recordings: Sequence[Sequence[Piece]], poll: Callable[[], None]) -> list[Scores]:
        """Emissions (u, c) of whole recordings."""
        pieces = [piece for recording in recordings for piece in recording]
        by_number = dict(self.emissions(pieces, poll))
        parts = iter([by_number[number] for number in range(len(pieces))])
        return [np.concatenate([next(parts) for _ in recording]) for recording in recordings]


def _kept(log_p: Scores, piece: Piece, frames: int) -> Scores:
    end = frames if piece.keep is None else min(frames, piece.skip + piece.keep)
    return log_p[piece.skip : end].copy()
