"""Many recordings at once: cut at pauses, sorted by length, decoded side by side, looked at, retried.

    recordings ─► chunks ─► (language) ─► sort ─► batches ─► suspicious? ─► full window
                                                                            ─► without the prompt
                                                                            ─► sampling (sequential)

What still looks wrong after the last retry is flagged and kept. Knows no files and loads no model.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipelines.asr.whisper.assembly import UNSURE_LANGUAGE, Heading, assemble
from pipelines.asr.whisper.chunks import QUIET_AFTER_S, Chunk, cut
from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ, Listening
from pipelines.asr.whisper.segments import segments_of
from pipelines.asr.whisper.sequential import Sequential
from pipelines.asr.whisper.suspicion import (
    LEAST_PROBABLE,
    compression_ratio,
    echoes,
    flags_of,
    looks_wrong,
)
from pipelines.asr.whisper.transcript import Segment, Transcript, nothing_heard
from pipelines.asr.whisper.windows import Decoded, WindowDecoder
from pipelines.audio.decode import Samples
from pipelines.audio.silence import is_silent
from pipelines.progress import Progress, ignore_progress

SHORT_S = 12.0
"""Up to this length the stricter threshold for repetition tells runaways from ordinary text."""
SLOWEST_SPEECH = 3.0
"""Characters a second below which a prompt may have stopped the decoder at a pause."""
TYPICAL_S = 5.0
"""Window for which a full batch is meant: of longer ones fewer go together, so that memory stays the same.

Verses gain from company, whole windows hardly do (measured): those go alone on a CPU, and need no more memory there
than a plain loop does."""

_Language = tuple[str | None, float]
"""A language, if it is known before decoding, and its probability."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk, what was made of it, and how many retries that took."""

    chunk: Chunk
    decoded: Decoded
    retries: int = 0


class Batched:
    """Transcribes on a loaded model; `sequential` is the last resort for a piece."""

    def __init__(self, windows: WindowDecoder, sequential: Sequential) -> None:
        self._windows = windows
        self._sequential = sequential

    def transcribe(
        self,
        recordings: Sequence[Samples],
        listening: Listening,
        progress: Progress = ignore_progress,
    ) -> list[Transcript]:
        """Transcribe recordings, in the order given; `progress` is called after each batch."""
        progress("Transcribing", fraction=0.0)
        chunks = [
            [] if is_silent(samples, SAMPLE_RATE_HZ) else cut(samples, number)
            for number, samples in enumerate(recordings)
        ]
        voted = [self._voted(own, listening) for own in chunks]
        pieces: list[list[_Piece]] = [[] for _ in recordings]
        total, done = sum(map(len, chunks)), 0
        for batch, language in _batches(chunks, voted, listening.batch_size):
            settled = self._settle(batch, replace(listening, language=language))
            for piece in settled:
                pieces[piece.chunk.recording].append(piece)
            done += len(batch)
            progress("Transcribing", fraction=done / total)
        return [
            _assembled(pieces[number], len(samples) / SAMPLE_RATE_HZ, voted[number], listening)
            for number, samples in enumerate(recordings)
        ]

    def _voted(self, chunks: Sequence[Chunk], listening: Listening) -> _Language:
        """The language of a recording; that of a single chunk is found while it is decoded."""
        if listening.language or not self._windows.is_multilingual:
            return listening.language or "en", 1.0
        if len(chunks) < 2:
            return None, 0.0
        places = sorted({0, len(chunks) // 2, len(chunks) - 1})
        heard = self._windows.detect([chunks[place] for place in places])
        votes: dict[str, float] = defaultdict(float)
        for language, probability in heard:
            votes[language] += probability / len(heard)
        return max(votes.items(), key=lambda vote: vote[1])

    def _settle(self, batch: Sequence[Chunk], listening: Listening) -> list[_Piece]:
        """Decode a batch, and each of its chunks again that looks wrong."""
        decoded = self._windows.decode(batch, listening)
        return [
            self._retried(chunk, first, listening) if _is_odd(chunk, first, listening) else piece
            for chunk, first in zip(batch, decoded, strict=True)
            for piece in (_Piece(chunk, first),)
        ]

    def _retried(self, chunk: Chunk, first: Decoded, listening: Listening) -> _Piece:
        """Try other settings until a result looks right; else keep the least repetitive one."""
        tries = [first]
        for attempt in self._ladder(chunk, listening):
            tries.append(attempt())
            if not _is_odd(chunk, tries[-1], replace(listening, prompt="")):
                return _Piece(chunk, tries[-1], len(tries) - 1)
        # Silence is no better text: what was heard once is for a person to judge.
        heard = [decoded for decoded in tries if decoded.text]
        best = min(heard or tries, key=lambda decoded: compression_ratio(decoded.text))
        return _Piece(chunk, best, len(tries) - 1)

    def _ladder(self, chunk: Chunk, listening: Listening) -> Iterator[Callable[[], Decoded]]:
        yield lambda: self._windows.decode([chunk], listening, is_full=True)[0]
        bare = replace(listening, prompt="")
        if listening.prompt:
            yield lambda: self._windows.decode([chunk], bare, is_full=True)[0]
        yield lambda: self._sampled(chunk, bare)

    def _sampled(self, chunk: Chunk, listening: Listening) -> Decoded:
        transcript = self._sequential.transcribe(chunk.samples, listening)
        words = tuple(
            replace(word, start_s=word.start_s + chunk.start_s, end_s=word.end_s + chunk.start_s)
            for segment in transcript.segments
            for word in segment.words
        )
        return Decoded(
            text=transcript.text,
            words=words,
            confidence=transcript.confidence,
            no_speech=0.0,
            language=transcript.language,
            language_probability=transcript.language_probability,
        )


def _batches(
    chunks: Sequence[list[Chunk]], voted: Sequence[_Language], size: int
) -> Iterator[tuple[list[Chunk], str | None]]:
    """Chunks of one language and of similar length, the longest first: what fits once fits always."""
    by_language: dict[str | None, list[Chunk]] = defaultdict(list)
    for own, (language, _) in zip(chunks, voted, strict=True):
        by_language[language] += own
    for language, members in by_language.items():
        members.sort(key=lambda chunk: chunk.duration_s, reverse=True)
        while members:
            window_s = members[0].duration_s + QUIET_AFTER_S
            count = min(size, max(1, int(size * TYPICAL_S / window_s)))
            yield members[:count], language
            del members[:count]


def _is_odd(chunk: Chunk, decoded: Decoded, listening: Listening) -> bool:
    """Whether it is worth decoding a chunk again."""
    is_short = chunk.duration_s <= SHORT_S
    if looks_wrong(decoded.text, chunk.duration_s, is_window_short=is_short):
        return True
    if decoded.confidence < math.exp(LEAST_PROBABLE):
        return True
    if decoded.language_probability < UNSURE_LANGUAGE:
        return True
    stopped_early = len(decoded.text) < SLOWEST_SPEECH * chunk.duration_s
    return bool(listening.prompt) and (stopped_early or echoes(decoded.text, listening.prompt))


def _assembled(
    pieces: list[_Piece], duration_s: float, voted: _Language, listening: Listening
) -> Transcript:
    if not pieces:
        return nothing_heard(duration_s, listening.language or "")
    pieces.sort(key=lambda piece: piece.chunk.start_s)
    segments = [segment for piece in pieces for segment in _segments(piece, listening.prompt)]
    decoded = pieces[0].decoded
    language, probability = voted
    if language is None:
        language, probability = decoded.language, decoded.language_probability
    retries = sum(piece.retries for piece in pieces)
    return assemble(segments, Heading(duration_s, language, probability, retries))


def _segments(piece: _Piece, prompt: str) -> list[Segment]:
    """A chunk's segments, each with the flags of the chunk."""
    chunk, decoded = piece.chunk, piece.decoded
    if not decoded.text:
        return []
    flags = flags_of(decoded.text, chunk.duration_s, no_speech=decoded.no_speech, prompt=prompt)
    if decoded.words:
        return [replace(segment, flags=flags) for segment in segments_of(decoded.words)]
    end_s = chunk.start_s + chunk.duration_s
    whole = Segment(chunk.start_s, end_s, decoded.text, decoded.confidence, (), flags)
    return [whole]
