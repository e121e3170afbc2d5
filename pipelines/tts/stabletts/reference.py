"""Which recording lends its voice: a clean, typical one of middle length; the same one every time.

Works on prepared examples, so nothing is decoded again. A recording that a person names is used as it is.
Knows no cells.

Axes: m mel bands · t frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.errors import PipelineError
from pipelines.tts.stabletts.config import FRAMES_PER_S
from pipelines.tts.stabletts.dataset import Example, Unusable, speech_mel

LONGEST_S = 20.0
"""More of a voice adds nothing to its summary."""
HEARD = 24
"""The most typical recordings, of which the cleanest ones count further."""
# Deviations are measured in units of what one would notice.
_NOTABLE_DB = 6.0
_NOTABLE_RATE = 0.25
_NOTABLE_CONTRAST = 1.0


@dataclass(frozen=True, slots=True)
class Reference:
    """A voice to imitate: the log-mel `(m, t)` at the common loudness, and whose it is."""

    mel: Tensor
    id: str
    why: str = ""  # how it came to be chosen, in words for a user


def choose(examples: Sequence[Example]) -> Reference:
    """Pick the recording whose length, pace and level are nearest the middle, and whose pauses are quiet."""
    strangeness = _strangeness(examples)
    order = sorted(range(len(examples)), key=lambda i: (strangeness[i], examples[i].id))
    candidates = [examples[i] for i in order[:HEARD]]
    mels = [_shortened(example.mel()) for example in candidates]
    contrasts = np.array([_contrast(mel) for mel in mels])
    typical = np.array([strangeness[i] for i in order[:HEARD]])
    murky = np.maximum(0.0, np.median(contrasts) - contrasts) / _NOTABLE_CONTRAST
    best = int(np.argmin(typical + murky))
    return Reference(mels[best], candidates[best].id, _reason(candidates[best], len(examples)))


def hear(audio: Path, identity: str) -> Reference:
    """Take a recording that was chosen by a person.

    Raises:
        PipelineError: It cannot be used, with the reason.
    """
    try:
        mel, _ = speech_mel(audio)
    except Unusable as problem:
        raise PipelineError(f"The chosen voice cannot be used: {problem}.") from problem
    return Reference(_shortened(torch.from_numpy(mel)), identity, "the job names it")


def _reason(chosen: Example, among: int) -> str:
    if among == 1:
        return "it is the only recording"
    duration_s = chosen.frames / FRAMES_PER_S
    letters_per_s = len(chosen.ids) // 2 / duration_s
    return (
        f"of {among} recordings nearest to the middle in length ({duration_s:.1f} s), "
        f"pace ({letters_per_s:.0f} letters per second) and loudness ({chosen.loudness_db:.0f} dB), "
        "with quiet pauses"
    )


def _strangeness(examples: Sequence[Example]) -> NDArray[np.float64]:
    """How far each recording is from the middle of all, `(examples)`."""
    lengths = np.log([example.frames for example in examples])
    rates = np.log([len(example.ids) / example.frames for example in examples])
    levels = np.array([example.loudness_db for example in examples])
    strangeness: NDArray[np.float64] = (
        np.abs(lengths - np.median(lengths))
        + np.abs(rates - np.median(rates)) / _NOTABLE_RATE
        + np.abs(levels - np.median(levels)) / _NOTABLE_DB
    )
    return strangeness


def _contrast(mel: Tensor) -> float:
    """Loud against quiet frames, in nepers: small where noise or echo fills the pauses."""
    levels = mel.mean(dim=0)
    return float(levels.quantile(0.9) - levels.quantile(0.1))


def _shortened(mel: Tensor) -> Tensor:
    return mel[:, : round(LONGEST_S * FRAMES_PER_S)]
