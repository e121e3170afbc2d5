"""Recordings with their texts, checked and turned into features and labels.

Features wait in one flat file and are mapped, not loaded: ten hours of speech are 1.2 GB. Knows no
cells; a clip's `group` (a chapter, a speaker) is only used to keep neighbours out of the test set.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr

from pipelines.asr.w2v2bert.config import ADAPTER_STRIDE, SAMPLE_RATE_HZ, RecogniserConfig
from pipelines.asr.w2v2bert.outliers import Measured, outliers
from pipelines.asr.w2v2bert.processor import (
    FEATURE_SIZE,
    MIN_SAMPLES,
    FeatureExtractor,
    Features,
    FrontEnd,
)
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.audio.decode import Samples, decode
from pipelines.audio.silence import loud_share, trim
from pipelines.errors import AudioUnreadable, EmptyCorpus
from pipelines.progress import Progress
from pipelines.text.normalize import canonical
from pipelines.training.clips import Clip, SkippedClip


@dataclass(frozen=True, slots=True)
class Example:
    """A clip ready for training; its features are `frames` rows from row `offset` of the file."""

    id: str
    group: str
    text: str
    written: str
    """The text as the project writes it; `text` is without what is not spoken."""
    labels: tuple[int, ...]
    offset: int
    frames: int
    duration_s: float
    book: str = ""
    digest: str = ""
    """Of the sound: equal for copies."""
    at_other_speeds: tuple[tuple[int, int], ...] = ()
    """Offset and frames of the same clip, spoken more slowly and faster."""

    def take(self, number: int) -> Example:
        """The clip at its own speed (0) or at one of the others."""
        if not number:
            return self
        offset, frames = self.at_other_speeds[number - 1]
        return replace(self, offset=offset, frames=frames)


class FeatureFile:
    """Feature rows of many clips, one after the other, on disk."""

    def __init__(self, path: Path, size: int = FEATURE_SIZE) -> None:
        """Start an empty file of rows with `size` values."""
        self._path = path
        self._size = size
        self._rows = 0
        path.write_bytes(b"")

    def append(self, features: Features) -> int:
        """Add a clip's rows; returns the number of the first one."""
        offset = self._rows
        with self._path.open("ab") as file:
            file.write(np.ascontiguousarray(features, np.float32).tobytes())
        self._rows += len(features)
        return offset

    def read(self, example: Example) -> Features:
        """The rows of one example, (t, f)."""
        rows: Features = np.fromfile(
            self._path,
            np.float32,
            count=example.frames * self._size,
            offset=example.offset * self._size * np.dtype(np.float32).itemsize,
        )
        return rows.reshape(-1, self._size)


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is left to learn from, and what was left out."""

    examples: tuple[Example, ...]
    skipped: tuple[SkippedClip, ...]
    features: FeatureFile

    @property
    def duration_s(self) -> float:
        """Speech in all, silence at the ends not counted."""
        return sum(example.duration_s for example in self.examples)


class Ear(Protocol):
    """What has to be known of a network before it hears anything; a `Recogniser` is one."""

    def front_end(self) -> FrontEnd:
        """What turns samples into its input."""

    def output_frames(self, rows: int) -> int:
        """How many outputs a number of input rows gives."""


class MelEar:
    """That of W2v-BERT 2.0 with its adapter."""

    def front_end(self) -> FrontEnd:
        """Mel frames."""
        return FeatureExtractor()

    def output_frames(self, rows: int) -> int:
        """One for two frames."""
        return -(-rows // ADAPTER_STRIDE)


class Unusable(Exception):
    """Why a clip is left out; never leaves this package."""


def prepare(
    clips: Sequence[Clip],
    vocabulary: Vocabulary,
    config: RecogniserConfig,
    features_path: Path,
    progress: Progress,
    *,
    ear: Ear | None = None,
) -> Corpus:
    """Decode and check every clip, for the network that `ear` belongs to.

    Raises:
        EmptyCorpus: none is usable; the message names the first reasons.
    """
    ear = ear or MelEar()
    extract = ear.front_end()
    features = FeatureFile(features_path, extract.size)
    examples, skipped, measured = [], [], []
    for done, clip in enumerate(clips):
        progress(f"Reading recording {done + 1} of {len(clips)}", fraction=done / len(clips))
        try:
            samples = speech_of(clip.audio, config.min_clip_s, config.max_clip_s)
            labels = _labels(clip, vocabulary)
            rows = extract(samples)
            if not has_room(labels, ear.output_frames(len(rows))):
                raise Unusable("the recording is too short for its text")
        except Unusable as problem:
            skipped.append(SkippedClip(clip.id, str(problem)))
            continue
        offset = features.append(rows)
        examples.append(
            Example(
                id=clip.id,
                group=clip.group,
                text=vocabulary.spelling(clip.text),
                written=canonical(clip.text),
                labels=labels,
                offset=offset,
                frames=len(rows),
                duration_s=len(samples) / SAMPLE_RATE_HZ,
                book=clip.book,
                digest=hashlib.sha256(rows.tobytes()).hexdigest(),
            )
        )
        measured.append(_measured(examples[-1], samples, vocabulary))
    odd = outliers(measured)
    skipped.extend(SkippedClip(identity, reason) for identity, reason in odd.items())
    examples = [example for example in examples if example.id not in odd]
    if not examples:
        reasons = "; ".join(sorted({clip.reason for clip in skipped})[:3]) or "there are none"
        raise EmptyCorpus(f"None of the {len(clips)} recordings can be used: {reasons}.")
    return Corpus(tuple(examples), tuple(skipped), features)


def at_other_speeds(
    corpus: Corpus,
    chosen: Sequence[Example],
    clips: Sequence[Clip],
    speeds: Sequence[float],
    progress: Progress,
    *,
    ear: Ear | None = None,
) -> list[Example]:
    """Add the features of clips spoken at other speeds (Ko et al. 2015, "Audio Augmentation …")."""
    ear = ear or MelEar()
    extract = ear.front_end()
    paths = {clip.id: clip.audio for clip in clips}
    varied = []
    for done, example in enumerate(chosen):
        progress(f"Varying the speed of recording {done + 1} of {len(chosen)}")
        samples = speech_of(paths[example.id], 0.0, math.inf)
        spots = []
        for speed in speeds:
            rows = extract(soxr.resample(samples, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ))
            if has_room(example.labels, ear.output_frames(len(rows))):
                spots.append((corpus.features.append(rows), len(rows)))
        varied.append(replace(example, at_other_speeds=tuple(spots)))
    return varied


def speech_of(path: Path, shortest_s: float, longest_s: float) -> Samples:
    """Decode a recording and cut the silence at its ends.

    Raises:
        Unusable: unreadable, silent, too short or too long.
    """
    try:
        samples = trim(decode(path, SAMPLE_RATE_HZ).samples, SAMPLE_RATE_HZ)
    except AudioUnreadable as error:
        raise Unusable(f"the recording could not be read: {error.reason}") from error
    duration_s = len(samples) / SAMPLE_RATE_HZ
    if not len(samples):
        raise Unusable("the recording is silent")
    if duration_s < shortest_s or len(samples) < MIN_SAMPLES:
        raise Unusable(f"the recording holds only {duration_s:.1f} s of sound")
    if duration_s > longest_s:
        raise Unusable(f"the recording is {duration_s:.0f} s long, more than {longest_s:.0f} s")
    return samples


def _labels(clip: Clip, vocabulary: Vocabulary) -> tuple[int, ...]:
    if any(map(str.isdecimal, vocabulary.missing(clip.text))):
        raise Unusable(
            "its text has numbers in digits, too few of them to learn how they are spoken"
        )
    labels = tuple(vocabulary.encode(clip.text))
    if not labels:
        raise Unusable("its text has no letters")
    return labels


def has_room(labels: Sequence[int], outputs: int) -> bool:
    """CTC needs an output for each label, and a blank between equal neighbours."""
    doubled = sum(left == right for left, right in pairwise(labels))
    return len(labels) + doubled <= outputs


def _measured(example: Example, samples: Samples, vocabulary: Vocabulary) -> Measured:
    letters = example.text.replace(" ", "")
    missing = vocabulary.missing(example.written)
    return Measured(
        id=example.id,
        text=example.text,
        duration_s=example.duration_s,
        loud_share=loud_share(samples, SAMPLE_RATE_HZ),
        foreign_share=sum(letter in missing for letter in letters) / max(len(letters), 1),
        digest=example.digest,
    )
