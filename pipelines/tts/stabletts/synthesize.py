"""Verses → waveforms: many at a time, each as it would be spoken alone, checked before it is handed out.

    texts ─► pieces ─ by length, in batches ─► mels ─ vocoder ─► joined ─► quality gate ─► project's loudness
                              ▲                                                 │ failed: another seed
                              └─────────────────────────────────────────────────┘

Knows no cells and no files.

Axes: b batch · x tokens · t frames · m mel bands · s samples.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipelines.audio.decode import Samples
from pipelines.audio.loudness import bring_to
from pipelines.compute import choose_device, choose_dtype
from pipelines.progress import Progress
from pipelines.training.batching import plan_batches
from pipelines.tts import phrases, quality
from pipelines.tts.stabletts.acceleration import accelerate, choose_acceleration, to_bucket
from pipelines.tts.stabletts.config import SAMPLE_RATE
from pipelines.tts.stabletts.flow import SamplingOptions
from pipelines.tts.stabletts.reference import Reference
from pipelines.tts.stabletts.vocabulary import visible
from pipelines.tts.stabletts.voice import Voice

USUAL_LOUDNESS_DB = -20.0
"""Of a voice that does not say how loud its project's recordings are."""
MAX_UNKNOWN_SHARE = 0.2
"""A text with more characters that the voice does not know is not spoken at all."""


@dataclass(frozen=True, slots=True)
class SpeakingConfig:
    """How to speak."""

    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    most_symbols: int = 220
    """Longer texts are cut at punctuation; voices are trained on verses, not on chapters."""
    tokens_per_batch: int = 4_000
    tries: int = 3
    seed: int = 0
    precision: str = "auto"
    compiled: bool = False
    """Compile the network first, which pays for many verses; see acceleration.py."""


@dataclass(frozen=True, slots=True)
class Verse:
    """A text to speak."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """What became of a verse: `samples (s)` at `SAMPLE_RATE`, or the problem why there are none."""

    id: str
    samples: Samples | None
    problem: str | None = None
    flags: tuple[str, ...] = ()
    tries: int = 0


@dataclass(frozen=True, slots=True)
class _Task:
    """A verse that can be spoken: the ids of its pieces, and what the user should know of it."""

    verse: Verse
    pieces: tuple[tuple[int, ...], ...]
    flags: tuple[str, ...]

    @property
    def symbols(self) -> int:
        return sum(len(ids) // 2 for ids in self.pieces)


class Speaker:
    """A voice, a vocoder and somebody to imitate, on one device."""

    def __init__(
        self,
        voice: Voice,
        vocoder: nn.Module,
        reference: Reference,
        config: SpeakingConfig | None = None,
        *,
        device: str = "cpu",
    ) -> None:
        """Put the networks on the device and listen to the reference once.

        Raises:
            DeviceUnavailable: The settings ask for what this machine does not have.
        """
        self.config = config or SpeakingConfig()
        self._device = choose_device(device)
        sizes = voice.model.config
        width = max(sizes.hidden_channels, sizes.filter_channels)
        self._dtype = choose_dtype(self.config.precision, self._device, width=width)
        self._vocoder = vocoder.to(self._device).eval()
        self._vocabulary = voice.vocabulary
        self._loudness_db = float(voice.facts.get("loudness_db", USUAL_LOUDNESS_DB))
        self._symbols_per_s = voice.facts.get("symbols_per_s")
        self._how = choose_acceleration(self._device, compiled=self.config.compiled)
        self._model = accelerate(voice.model.to(self._device).eval(), self._how, self._dtype)
        usual = self.config.tokens_per_batch
        self._tokens_per_batch = min(usual, self._how.most_tokens or usual)
        joint = self._how.joint_branches
        self._sampling = replace(self.config.sampling, joint_branches=joint)
        with torch.inference_mode():
            self._c = self._model.voice(reference.mel.unsqueeze(0).to(self._device))  # (1, g)

    def speak(self, verses: Sequence[Verse], progress: Progress) -> Iterator[Spoken]:
        """Yield every verse once, in the order in which they get ready."""
        pending: list[_Task] = []
        done = 0
        for verse in verses:
            prepared = self._prepare(verse)
            if isinstance(prepared, Spoken):
                done += 1
                yield prepared
            else:
                pending.append(prepared)
        for attempt in range(self.config.tries):
            is_last = attempt == self.config.tries - 1
            failed: list[_Task] = []
            for task, spoken in self._round(pending, attempt, progress):
                if spoken.problem and not is_last:
                    failed.append(task)
                    continue
                done += 1
                progress(f"Spoke {done} of {len(verses)} verses", fraction=done / len(verses))
                yield spoken
            pending = failed

    def _prepare(self, verse: Verse) -> _Task | Spoken:
        encoded = self._vocabulary.encode(verse.text)
        symbols = len(encoded.ids) // 2
        if encoded.digits:
            numbers = " ".join(dict.fromkeys(encoded.digits))
            return Spoken(verse.id, None, f"nobody said how to read {numbers}")
        unknown = " ".join(map(visible, dict.fromkeys(encoded.unknown)))
        if not encoded.is_speakable or not any(map(str.isalpha, verse.text)):
            return Spoken(verse.id, None, "its text has nothing to say")
        if len(encoded.unknown) > MAX_UNKNOWN_SHARE * symbols:
            return Spoken(verse.id, None, f"the voice does not know most of it: {unknown}")
        flags = (f"the voice does not know {unknown}",) if unknown else ()
        return _Task(verse, self._pieces(verse.text, encoded.ids), flags)

    def _pieces(self, text: str, ids: list[int]) -> tuple[tuple[int, ...], ...]:
        if len(ids) // 2 <= self.config.most_symbols:
            return (tuple(ids),)

        def size(part: str) -> int:
            return len(self._vocabulary.encode(part).ids) // 2

        encoded = map(self._vocabulary.encode, phrases.split(text, self.config.most_symbols, size))
        return tuple(tuple(one.ids) for one in encoded if one.is_speakable)

    def _round(
        self, tasks: Sequence[_Task], attempt: int, progress: Progress
    ) -> Iterator[tuple[_Task, Spoken]]:
        """Speak every task once; a verse comes out as soon as its last piece is there."""
        pieces = [(task, number) for task in tasks for number in range(len(task.pieces))]
        lengths = [len(task.pieces[number]) for task, number in pieces]
        ready: defaultdict[str, dict[int, Tensor]] = defaultdict(dict)
        for batch in plan_batches(lengths, self._tokens_per_batch).batches:
            progress("Working through the verses")
            chosen = [pieces[index] for index in batch]
            for (task, number), mel in zip(chosen, self._mels(chosen, attempt), strict=True):
                mels = ready[task.verse.id]
                mels[number] = mel
                if len(mels) == len(task.pieces):
                    del ready[task.verse.id]
                    yield task, self._finish(task, [mels[i] for i in sorted(mels)], attempt)

    @torch.inference_mode()
    def _mels(self, pieces: Sequence[tuple[_Task, int]], attempt: int) -> list[Tensor]:
        """Draw one mel `(m, t)` per piece; neighbours in the batch change nothing."""
        ids = [torch.tensor(task.pieces[number]) for task, number in pieces]
        x = pad_sequence(ids, batch_first=True).to(self._device)
        lengths = torch.tensor([len(row) for row in ids], device=self._device)
        scale = self._sampling.length_scale
        narrow = self._dtype is not torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=narrow):
            prior, frames, _ = self._model.plan(x, lengths, self._c.expand(len(ids), -1), scale)
            prior = to_bucket(prior, self._how)
            counts = frames.tolist()
            noise = torch.zeros(prior.mu.shape)
            for row, ((task, number), count) in enumerate(zip(pieces, counts, strict=True)):
                seed = f"{self.config.seed}/{task.verse.id}/{number}/{attempt}"
                noise[row, :, :count] = _noise(seed, prior.mu.shape[1], count)
            drawn = self._model.render(prior, noise.to(self._device), self._sampling)
        return [mel[:, :count] for mel, count in zip(drawn.float(), counts, strict=True)]

    @torch.inference_mode()
    def _finish(self, task: _Task, mels: Sequence[Tensor], attempt: int) -> Spoken:
        """Turn the mels of a verse into sound, judge it, and bring it to the project's loudness."""
        waves = [self._vocoder(mel.unsqueeze(0))[0].float().cpu().numpy() for mel in mels]
        samples = phrases.join([np.nan_to_num(wave) for wave in waves], SAMPLE_RATE)
        rendering = quality.Attempt(
            samples,
            SAMPLE_RATE,
            torch.cat(tuple(mels), dim=1).cpu().numpy(),
            task.symbols,
            self._symbols_per_s,
        )
        verse, tries = task.verse, attempt + 1
        if found := quality.problems(rendering):
            return Spoken(verse.id, None, "; ".join(found), task.flags, tries)
        levelled = bring_to(samples, self._loudness_db, SAMPLE_RATE)
        return Spoken(verse.id, levelled, None, task.flags, tries)


def _noise(seed: str, bands: int, frames: int) -> Tensor:
    """Standard normal `(m, t)` that depends on the seed's text alone, the same on every machine."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) >> 1
    return torch.randn((bands, frames), generator=torch.Generator().manual_seed(number))
