"""Recordings of any length in bounded memory: read section by section, cut in the quiet, joined again.

    samples on disk ─► a quarter of an hour ─► transcript ┐
                   ─► a quarter of an hour ─► transcript ─┴─► one transcript, in times of the whole

Knows no engine and no file format: samples come from a function.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pipelines.asr.whisper.assembly import Heading, assemble
from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ
from pipelines.asr.whisper.transcript import Segment, Transcript
from pipelines.audio.decode import Samples
from pipelines.audio.silence import pauses

SECTION_S = 900.0
"""58 MB of samples: enough chunks to sort by length, little beside a model, little to lose to a kill."""

Read = Callable[[int, int], Samples]
"""From a position and a number of samples to those samples, or to what is left of them."""


def sections(
    read: Read, total: int, longest_s: float = SECTION_S
) -> Iterator[tuple[float, Samples]]:
    """Yield each section with its start in seconds; cuts are at the quietest place of the last third."""
    longest = round(longest_s * SAMPLE_RATE_HZ)
    start = 0
    while start < total:
        samples = read(start, longest + 1)  # one too many asks for a cut
        end = next(iter(pauses(samples, SAMPLE_RATE_HZ, longest_s)), len(samples))
        yield start / SAMPLE_RATE_HZ, samples[:end]
        start += end


def join(parts: Sequence[tuple[float, Transcript]]) -> Transcript:
    """Make one transcript of those of the sections, each with its start in the whole."""
    segments = [_shifted(segment, start_s) for start_s, part in parts for segment in part.segments]
    last_start_s, last = parts[-1]
    language, probability = _language([part for _, part in parts])
    retries = sum(part.retries for _, part in parts)
    heading = Heading(last_start_s + last.duration_s, language, probability, retries)
    return assemble(segments, heading)


def _shifted(segment: Segment, by_s: float) -> Segment:
    words = tuple(
        replace(word, start_s=round(word.start_s + by_s, 3), end_s=round(word.end_s + by_s, 3))
        for word in segment.words
    )
    start_s, end_s = round(segment.start_s + by_s, 3), round(segment.end_s + by_s, 3)
    return replace(segment, start_s=start_s, end_s=end_s, words=words)


def _language(parts: Sequence[Transcript]) -> tuple[str, float]:
    """The language of most of the sound in which somebody speaks, and how sure its sections were."""
    spoken = [part for part in parts if part.text]
    if not spoken:
        return parts[0].language, 0.0
    seconds: dict[str, float] = defaultdict(float)
    for part in spoken:
        seconds[part.language] += part.duration_s
    language = max(seconds, key=seconds.__getitem__)
    sure = [part.language_probability for part in spoken if part.language == language]
    return language, sum(sure) / len(sure)
