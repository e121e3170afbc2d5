"""Recordings with their texts → mels and ids, checked, cached by content and read in parallel.

A clip that cannot be learnt from is listed with its reason and never silently dropped. Knows no cells; a clip's
`group` (a chapter) keeps neighbours out of the validation set.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.audio.decode import Samples, decode
from pipelines.audio.loudness import rms_db
from pipelines.audio.silence import trim
from pipelines.errors import AudioUnreadable, EmptyCorpus
from pipelines.progress import Progress
from pipelines.training.clips import Clip, SkippedClip
from pipelines.tts.stabletts.config import FRAMES_PER_S, SAMPLE_RATE
from pipelines.tts.stabletts.mel import MIN_SAMPLES, log_mel
from pipelines.tts.stabletts.vocabulary import Vocabulary

LOUDNESS_DB = -23.0  # RMS that every clip is brought to, relative to full scale
CLIPPED_LEVEL = 0.999
MAX_CLIPPED_SHARE = 0.01
CACHE_VERSION = 2  # raise when anything above or in mel.py changes


@dataclass(frozen=True, slots=True)
class Limits:
    """Lengths between which a clip is used."""

    min_s: float = 0.4
    max_s: float = 25.0


@dataclass(frozen=True, slots=True)
class Example:
    """A clip ready for training."""

    id: str
    group: str
    ids: tuple[int, ...]  # symbols with blanks between
    mel_path: Path  # (m, t) float32, numpy
    frames: int
    loudness_db: float  # of the recording as it was, relative to full scale

    def mel(self) -> Tensor:
        """Read the log-mel `(m, t)`."""
        return torch.from_numpy(np.load(self.mel_path, allow_pickle=False))


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is left to learn from, and what was left out."""

    examples: tuple[Example, ...]
    skipped: tuple[SkippedClip, ...]

    @property
    def duration_s(self) -> float:
        """Speech in all, without silence at the ends."""
        return sum(example.frames for example in self.examples) / FRAMES_PER_S

    @property
    def loudness_db(self) -> float:
        """Median level of the recordings, for matching what is spoken to it."""
        return float(np.median([example.loudness_db for example in self.examples]))

    @property
    def symbols_per_s(self) -> float:
        """Median pace of the recordings, for judging how long a text may take."""
        paces = [len(example.ids) // 2 / example.frames for example in self.examples]
        return float(np.median(paces)) * FRAMES_PER_S


class Unusable(Exception):
    """Why a recording cannot be used, in words that complete a sentence."""


def prepare(
    clips: Sequence[Clip],
    vocabulary: Vocabulary,
    limits: Limits,
    cache_dir: Path,
    progress: Progress,
) -> Corpus:
    """Read and check every clip; what is in the cache is not read again.

    Raises:
        EmptyCorpus: None is usable; the message names the first reasons.
    """
    examples: list[Example] = []
    skipped: list[SkippedClip] = []
    for done, outcome in enumerate(_read_all(clips, vocabulary, limits, cache_dir)):
        progress(f"Reading recording {done + 1} of {len(clips)}", fraction=done / len(clips))
        if isinstance(outcome, Example):
            examples.append(outcome)
        else:
            skipped.append(outcome)
    if not examples:
        reasons = "; ".join(sorted({clip.reason for clip in skipped})[:3]) or "there are none"
        raise EmptyCorpus(f"none of the {len(clips)} recordings can be used: {reasons}")
    return Corpus(tuple(examples), tuple(skipped))


def _read_all(
    clips: Sequence[Clip], vocabulary: Vocabulary, limits: Limits, cache_dir: Path
) -> Iterator[Example | SkippedClip]:
    """Read clips in order on all cores; decoding and transforms release the interpreter lock."""

    def read(clip: Clip) -> Example | SkippedClip:
        try:
            return _example(clip, vocabulary, limits, cache_dir)
        except Unusable as problem:
            return SkippedClip(clip.id, str(problem))

    pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="clips")
    try:
        yield from pool.map(read, clips)
    finally:
        pool.shutdown(cancel_futures=True)


def _example(clip: Clip, vocabulary: Vocabulary, limits: Limits, cache_dir: Path) -> Example:
    encoded = vocabulary.encode(clip.text)
    if encoded.digits:
        raise Unusable(f"nobody said how to read {' '.join(encoded.digits)}")
    if not encoded.is_speakable:
        raise Unusable("its text has nothing to say")
    mel_path, frames, loudness_db = _cached_mel(clip.audio, limits, cache_dir)
    if len(encoded.ids) > frames:
        raise Unusable(f"its text is too long for its recording of {frames / FRAMES_PER_S:.1f} s")
    return Example(clip.id, clip.group, tuple(encoded.ids), mel_path, frames, loudness_db)


def _cached_mel(audio: Path, limits: Limits, cache_dir: Path) -> tuple[Path, int, float]:
    """Return the file of a recording's mel, its frames, and the recording's loudness."""
    try:
        digest = hashlib.sha256(audio.read_bytes()).hexdigest()
    except OSError as error:
        raise Unusable("the recording is not there") from error
    key = f"{digest}-{CACHE_VERSION}"
    shelf = cache_dir / digest[:2]  # so that looking one up does not list thousands
    found = next(shelf.glob(f"{key}_*.npy"), None)
    if found is None:
        mel, loudness_db = speech_mel(audio)
        shelf.mkdir(parents=True, exist_ok=True)
        found = shelf / f"{key}_{mel.shape[1]}_{loudness_db:.1f}.npy"
        _write(found, mel)
    frames, level = found.stem.split("_")[1:]
    duration_s = int(frames) / FRAMES_PER_S
    if duration_s < limits.min_s:
        raise Unusable(f"the recording holds only {duration_s:.1f} s of sound")
    if duration_s > limits.max_s:
        raise Unusable(f"the recording is {duration_s:.0f} s long, more than {limits.max_s:.0f} s")
    return found, int(frames), float(level)


def speech_mel(audio: Path) -> tuple[NDArray[np.float32], float]:
    """Return the log-mel `(m, t)` of a recording at the common loudness, and the loudness it had.

    Raises:
        Unusable: It is silent, distorted or no recording.
    """
    samples = _speech(audio)
    loudness_db = rms_db(samples)
    mel = log_mel(torch.from_numpy(_at_common_loudness(samples, loudness_db)))
    return mel.numpy(), loudness_db


def _speech(audio: Path) -> Samples:
    """Decode a recording and cut the silence at its ends."""
    try:
        whole = decode(audio, SAMPLE_RATE).samples
    except AudioUnreadable as error:
        raise Unusable(f"the recording could not be read: {error.reason}") from error
    samples = trim(whole, SAMPLE_RATE)
    if not len(samples):
        raise Unusable("the recording is silent")
    if len(samples) < MIN_SAMPLES:
        raise Unusable("the recording is a click")
    clipped = float((np.abs(samples) >= CLIPPED_LEVEL).mean())
    if clipped > MAX_CLIPPED_SHARE:
        raise Unusable(f"the recording is distorted ({clipped:.0%} of it is clipped)")
    return samples


def _at_common_loudness(samples: Samples, loudness_db: float) -> Samples:
    gain = 10 ** ((LOUDNESS_DB - loudness_db) / 20)
    peak = float(np.abs(samples).max())
    return (samples * min(gain, CLIPPED_LEVEL / peak)).astype(np.float32)


def _write(path: Path, mel: NDArray[np.float32]) -> None:
    """Write whole or not at all: two clips, or two jobs, may hold the same recording."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{id(mel):x}")
    with part.open("wb") as file:
        np.save(file, mel, allow_pickle=False)
    part.replace(path)
