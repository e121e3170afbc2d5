"""Cuts a recording where nobody speaks, into pieces that fit a window of Whisper.

    recording  ──speech───speech──────(long silence)──────speech──
    chunks     [ one piece, with its pause ]              [another]

A chunk is a plain stretch of the recording: times inside it need one addition to become times of the file.
Voice activity is Silero's, through faster-whisper. Where there is no speech there is no chunk: nothing is
asked of the model, so nothing can be invented.
"""

from __future__ import annotations

from dataclasses import dataclass

from faster_whisper.vad import VadOptions, get_speech_timestamps

from pipelines.asr.whisper.engine import SAMPLE_RATE_HZ
from pipelines.audio.decode import Samples

WINDOW_S = 30.0
"""What Whisper's encoder can see at once."""
QUIET_AFTER_S = 2.0
"""Silence left after the speech in every window; with less the decoder runs on (measured)."""
LONGEST_S = WINDOW_S - QUIET_AFTER_S
WIDEST_PAUSE_S = 3.0
"""A longer pause ends a chunk: silence costs time and invites invention."""
SHORTEST_PAUSE_S = 0.16
PAD_S = 0.4
"""Kept around speech, for soft first and last sounds."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of one recording."""

    recording: int
    """Position of the recording among those of the call."""
    start_s: float
    samples: Samples

    @property
    def duration_s(self) -> float:
        """Its length."""
        return len(self.samples) / SAMPLE_RATE_HZ


@dataclass(slots=True)
class _Speech:
    """A stretch of speech in samples, padded."""

    start: int
    end: int


def cut(samples: Samples, recording: int = 0) -> list[Chunk]:
    """Find speech and pack it into chunks of at most `LONGEST_S`; none where nobody speaks."""
    options = VadOptions(
        max_speech_duration_s=LONGEST_S,
        min_silence_duration_ms=round(SHORTEST_PAUSE_S * 1000),
        speech_pad_ms=round(PAD_S * 1000),
    )
    found = get_speech_timestamps(samples, options)
    speeches = [_Speech(int(speech["start"]), int(speech["end"])) for speech in found]
    return [
        Chunk(recording, group[0].start / SAMPLE_RATE_HZ, samples[group[0].start : group[-1].end])
        for group in _grouped(speeches)
    ]


def _grouped(speeches: list[_Speech]) -> list[list[_Speech]]:
    """Neighbours that fit a window together; a full window is cut at its longest late pause."""
    groups: list[list[_Speech]] = []
    group: list[_Speech] = []
    for speech in speeches:
        if group and speech.start - group[-1].end > WIDEST_PAUSE_S * SAMPLE_RATE_HZ:
            groups.append(group)
            group = []
        while group and speech.end - group[0].start > LONGEST_S * SAMPLE_RATE_HZ:
            head = _until_longest_late_pause([*group, speech])
            groups.append(group[:head])
            group = group[head:]
        group.append(speech)
    return [*groups, group] if group else groups


def _until_longest_late_pause(group: list[_Speech]) -> int:
    """How many stretches to keep: the cut is at the longest pause in the last third of the window."""
    begin = group[0].start + LONGEST_S * SAMPLE_RATE_HZ * 2 / 3
    late = [number for number in range(1, len(group)) if group[number].start >= begin]
    return max(
        late or [len(group) - 1], key=lambda number: group[number].start - group[number - 1].end
    )
