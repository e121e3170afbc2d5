"""Start a voice from nothing at what its recordings sound like on average.

The logarithm of a mel lies around −6 and the layers that write mels begin around 0: a small network spends most of
a short training on the way, and aligns texts by chance meanwhile.

Axes: m mel bands · t frames · k kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.tts.stabletts.dataset import Example
from pipelines.tts.stabletts.model import StableTTS

MOST_HEARD = 256
"""Recordings that say well enough what the mean frame is."""


@torch.no_grad()
def start_at_mean(model: StableTTS, examples: Sequence[Example]) -> None:
    """Let a fresh model predict the mean frame, and take it for nothing special where it reads one."""
    mean = _mean_frame(examples)
    parameters = dict(model.named_parameters())
    for written in ("encoder.proj.bias", "decoder.estimator.final_proj.bias"):
        parameters[written].copy_(mean)
    model.fake_content.copy_(mean[None, :, None])
    reader = "decoder.estimator.cond_proj.0"
    weight = parameters[f"{reader}.weight"]  # (filters, m, k)
    parameters[f"{reader}.bias"].sub_(weight.sum(dim=2) @ mean)


def _mean_frame(examples: Sequence[Example]) -> Tensor:
    """Average over all frames: `(m)`."""
    mels = [example.mel() for example in examples[:MOST_HEARD]]
    return torch.cat(mels, dim=1).mean(dim=1)
