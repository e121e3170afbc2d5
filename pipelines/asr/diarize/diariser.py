"""The default diariser: speech, windows of 1.6 s, voices, groups, turns.

    blocks of 10 minutes ─► speech (Silero) ─► a window every 0.5 s ─► vectors ─► groups ─► turns

Memory follows the block: of a recording of hours only vectors stay. Knows no files and no words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from pipelines.asr.diarize.clusters import Labels, Vectors, group_blocks
from pipelines.asr.diarize.port import LONGEST_S
from pipelines.asr.diarize.turns import SpeakerCount, Turn, renamed
from pipelines.asr.diarize.voices import SAMPLE_RATE_HZ, WINDOW_SAMPLES, load
from pipelines.audio.decode import Samples
from pipelines.audio.loudness import bring_to, rms_db
from pipelines.compute import choose_device

STEP_S = 0.5
LEVEL_DB = -30.0
"""Quieter speech is raised to this, the level that the weights learned at; louder stays."""
JOINED_GAP_S = 1.0
"""A shorter pause between stretches of the same speaker is part of a turn."""
SHORTEST_VOICE_S = WINDOW_SAMPLES / SAMPLE_RATE_HZ
"""Who is heard for less than one window in a whole recording cannot be told from the others."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A stretch of speech that one window decides about, in seconds of the recording."""

    start_s: float
    end_s: float


class VoiceDiariser:
    """Loaded once, used for any number of recordings."""

    def __init__(
        self, weights: Path | None = None, *, device: str = "cpu", block_s: float = LONGEST_S
    ) -> None:
        """Load the speaker encoder.

        Args:
            weights: a file of the package's form; None for the package's own.
            device: "cpu" or "cuda".
            block_s: how much of a recording is in memory at once.

        Raises:
            ModelNotFound: no weights.
            BadCheckpoint: a file that holds something else.
            DeviceUnavailable: no such device.
        """
        self._encoder = load(weights).to(choose_device(device))
        self._block_s = block_s

    def turns(
        self, pieces: Iterable[Samples], speakers: SpeakerCount | None = None
    ) -> tuple[Turn, ...]:
        """Find turns; see `Diariser.turns`."""
        slots: list[_Slot] = []
        vectors: list[Vectors] = []
        start_s = 0.0
        for block in _blocks(pieces, self._block_s):
            found, voices = self._heard(block, start_s)
            slots += found
            vectors.append(voices)
            start_s += len(block) / SAMPLE_RATE_HZ
        speakers = speakers or SpeakerCount()
        labels = group_blocks(vectors, speakers)
        if speakers.exactly is None:
            labels = _without_strangers(
                labels, slots, np.concatenate([*vectors, np.zeros((0, 256))])
            )
        return renamed(_turns(slots, labels))

    def _heard(self, block: Samples, start_s: float) -> tuple[list[_Slot], Vectors]:
        """A block's speech as vectors; its windows are gone before the next block comes."""
        slots, windows = _slots(block, start_s)
        return slots, self._encoder.embed(windows)


def _blocks(pieces: Iterable[Samples], block_s: float) -> Iterator[Samples]:
    """The recording in blocks of one length, the last one shorter."""
    size = round(block_s * SAMPLE_RATE_HZ)
    waiting: list[Samples] = []
    held = 0
    for piece in pieces:
        waiting.append(piece)
        held += len(piece)
        while held >= size:
            joined = np.concatenate(waiting)
            yield joined[:size]
            waiting, held = [joined[size:]], held - size
    if held:
        yield np.concatenate(waiting)


def _slots(block: Samples, start_s: float) -> tuple[list[_Slot], Samples]:
    """Stretches of speech and the windows (b, s) around their middles."""
    spans = get_speech_timestamps(block, VadOptions(min_silence_duration_ms=300, speech_pad_ms=60))
    step = round(STEP_S * SAMPLE_RATE_HZ)
    slots: list[_Slot] = []
    windows: list[Samples] = []
    for span in spans:
        begin, end = int(span["start"]), int(span["end"])
        speech = _levelled(block[begin:end])
        edges = np.linspace(0, len(speech), max(1, round(len(speech) / step)) + 1).astype(int)
        for left, right in pairwise(edges):
            times = (begin + int(left), begin + int(right))
            slots.append(_Slot(*(start_s + at / SAMPLE_RATE_HZ for at in times)))
            windows.append(_window(speech, (int(left) + int(right)) // 2))
    return slots, np.stack(windows) if windows else np.zeros((0, WINDOW_SAMPLES), np.float32)


def _window(speech: Samples, middle: int) -> Samples:
    """1.6 s around a moment of a stretch of speech, moved inside it; a shorter stretch is repeated."""
    if len(speech) < WINDOW_SAMPLES:
        return np.resize(speech, WINDOW_SAMPLES)
    start = min(max(0, middle - WINDOW_SAMPLES // 2), len(speech) - WINDOW_SAMPLES)
    return speech[start : start + WINDOW_SAMPLES]


def _levelled(speech: Samples) -> Samples:
    return speech if rms_db(speech) >= LEVEL_DB else bring_to(speech, LEVEL_DB, SAMPLE_RATE_HZ)


def _without_strangers(labels: Labels, slots: Sequence[_Slot], vectors: Vectors) -> Labels:
    """Give the slots of a voice heard for a moment only to the most similar lasting voice."""
    lengths = np.array([slot.end_s - slot.start_s for slot in slots])
    heard = {int(label): float(lengths[labels == label].sum()) for label in np.unique(labels)}
    lasting = [label for label, length_s in heard.items() if length_s >= SHORTEST_VOICE_S]
    if not lasting or len(lasting) == len(heard):
        return labels
    means = np.stack([vectors[labels == label].mean(axis=0) for label in lasting])
    strangers = ~np.isin(labels, lasting)
    labels = labels.copy()
    labels[strangers] = np.array(lasting)[(vectors[strangers] @ means.T).argmax(axis=1)]
    return labels


def _turns(slots: Sequence[_Slot], labels: Labels) -> Iterator[Turn]:
    """Join neighbours of one speaker over short pauses."""
    current: Turn | None = None
    for slot, label in zip(slots, labels, strict=True):
        speaker = str(label)
        if current and current.speaker == speaker and slot.start_s - current.end_s < JOINED_GAP_S:
            current = Turn(current.start_s, slot.end_s, speaker)
            continue
        if current:
            yield current
        current = Turn(slot.start_s, slot.end_s, speaker)
    if current:
        yield current
