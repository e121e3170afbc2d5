"""Speakers' names in a transcript: words go to whoever speaks then, segments are cut where the speaker changes.

Knows turns as values, and no diariser.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice

from pipelines.asr.diarize.turns import Turn, assign, speaker_of
from pipelines.asr.whisper.segments import text_of
from pipelines.asr.whisper.transcript import Segment, Transcript


def with_speakers(transcript: Transcript, turns: Sequence[Turn]) -> Transcript:
    """Name the speaker of every segment; without turns nobody is named."""
    words = [
        word for segment in transcript.segments if _is_timed(segment) for word in segment.words
    ]
    speakers = iter(assign(words, turns))
    segments: list[Segment] = []
    for segment in transcript.segments:
        if _is_timed(segment):
            segments += _cut(segment, list(islice(speakers, len(segment.words))))
        else:
            segments.append(replace(segment, speaker=speaker_of(segment, turns)))
    return replace(transcript, segments=tuple(segments))


def _is_timed(segment: Segment) -> bool:
    """Whether its words are its text, so that it can be cut between them."""
    return bool(segment.words) and text_of(segment.words) == segment.text


def _cut(segment: Segment, speakers: Sequence[str | None]) -> Iterator[Segment]:
    """One segment for each row of words of one speaker; the outer times stay."""
    rows = [
        (speaker, [word for word, _ in row])
        for speaker, row in groupby(
            zip(segment.words, speakers, strict=True), key=lambda pair: pair[1]
        )
    ]
    for number, (speaker, words) in enumerate(rows):
        yield replace(
            segment,
            start_s=segment.start_s if number == 0 else words[0].start_s,
            end_s=segment.end_s if number == len(rows) - 1 else words[-1].end_s,
            text=text_of(words),
            words=tuple(words),
            speaker=speaker,
        )
