"""The whole text-to-mel network: losses for training, mels for speaking.

Does not know files, alphabets or waveforms. The parameters keep the names and order of the original release.

Axes: b batch · x tokens · t frames · r reference frames · m mel bands · h hidden · g condition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipelines.tts.stabletts import align
from pipelines.tts.stabletts.blocks import length_mask
from pipelines.tts.stabletts.config import ModelConfig
from pipelines.tts.stabletts.encoder import (
    DurationPredictor,
    StyleEncoder,
    TextEncoder,
    is_ragged,
)
from pipelines.tts.stabletts.flow import FlowDecoder, Prior, SamplingOptions

CONDITION_DROPOUT = 0.2  # share of items that train without voice and content, for guidance


@dataclass(frozen=True, slots=True)
class Batch:
    """Utterances for one training step, zero-padded."""

    x: Tensor  # token ids, (b, x)
    x_lengths: Tensor  # (b)
    y: Tensor  # log-mels, (b, m, t)
    y_lengths: Tensor  # (b)
    z: Tensor  # crops of the same mels for the style encoder, (b, m, r)
    z_lengths: Tensor  # (b)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        moved = (getattr(self, name).to(device, non_blocking=True) for name in self.__slots__)
        return Batch(*moved)


@dataclass(frozen=True, slots=True)
class Draws:
    """Every random number of one training step outside the dropouts."""

    keep: Tensor  # uniform, (b, 1): conditions are kept above `CONDITION_DROPOUT`
    time: Tensor  # uniform, (b, 1, 1)
    noise: Tensor  # standard normal, (b, m, t)

    @classmethod
    def sample(cls, y: Tensor, generator: torch.Generator | None = None) -> Draws:
        """Draw for mels `y (b, m, t)`, in the original's order."""
        keep = torch.rand((len(y), 1), generator=generator, device=y.device)
        time = torch.rand((len(y), 1, 1), generator=generator, device=y.device)
        noise = torch.randn(y.shape, generator=generator, device=y.device)
        return cls(keep, time, noise)


@dataclass(frozen=True, slots=True)
class Losses:
    """The three scalar losses of a batch, weighted equally."""

    duration: Tensor
    flow: Tensor
    prior: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.duration + self.flow + self.prior


class StableTTS(nn.Module):
    """Text encoder, style encoder, duration predictor and flow decoder in one state dict."""

    def __init__(self, config: ModelConfig, *, leaks_padding: bool = False) -> None:
        """Build with fresh weights.

        Args:
            config: Sizes.
            leaks_padding: Repeat the original's treatment of padded batches, where padding
                changes results. Only for comparing numbers with it.
        """
        super().__init__()
        self.config = config
        self.fake_speaker = nn.Parameter(torch.zeros(1, config.gin_channels))
        self.fake_content = nn.Parameter(torch.zeros(1, config.n_mels, 1))
        self.encoder = TextEncoder(config)
        self.ref_encoder = StyleEncoder(config, leaks_padding=leaks_padding)
        self.dp = DurationPredictor(config)
        self.decoder = FlowDecoder(config, leaks_padding=leaks_padding)

    def forward(self, batch: Batch, draws: Draws) -> Losses:
        """Return the losses of a batch under given random draws."""
        z_mask = length_mask(batch.z_lengths, batch.z.shape[2])
        keep = draws.keep > CONDITION_DROPOUT  # (b, 1)
        c = torch.where(keep, self.ref_encoder(batch.z, z_mask), self.fake_speaker)
        h, mu_x, x_mask = self.encoder(batch.x, batch.x_lengths, c)
        logw = self.dp(h, x_mask, c)

        y_mask = length_mask(batch.y_lengths, batch.y.shape[2])
        with torch.autocast(batch.y.device.type, enabled=False):
            mu_x = mu_x.float()
            path = self.align(batch, mu_x)
            duration = self._duration_loss(logw.float(), path, x_mask, y_mask)
            mu_y = align.spread(mu_x, path, y_mask)
            prior = _prior_loss(batch.y, mu_y, y_mask)
        content = torch.where(keep.unsqueeze(2), mu_y, self.fake_content)
        conditions = Prior(content, y_mask, c, is_ragged(batch.y_lengths))
        flow = self.decoder.loss(batch.y, conditions, draws.time, draws.noise)
        return Losses(duration, flow, prior)

    def save_memory(self) -> None:
        """Compute the decoder's activations again in the backward pass instead of keeping them."""
        self.decoder.estimator.computes_twice = True

    @torch.no_grad()
    def align(self, batch: Batch, mu_x: Tensor) -> Tensor:
        """Assign each frame of `batch.y` its token, given `mu_x (b, m, x)`; returns `(b, t)`."""
        scores = align.frame_scores(batch.y, mu_x)
        return align.search(scores, batch.y_lengths, batch.x_lengths)

    def voice(self, mel: Tensor) -> Tensor:
        """Summarise one unpadded reference mel `(1, m, r)` as a voice `(1, g)`."""
        c: Tensor = self.ref_encoder(mel)
        return c

    def plan(
        self, x: Tensor, x_lengths: Tensor, c: Tensor, length_scale: float = 1.0
    ) -> tuple[Prior, Tensor, Tensor]:
        """Decide what each frame should sound like, without any randomness.

        Args:
            x: Token ids, `(b, x)`.
            x_lengths: `(b)`.
            c: Voices, `(b, g)`.
            length_scale: Above 1 speaks slower.

        Returns:
            The conditions of the flow, frames per utterance `(b)`, and token per frame `(b, t)`.
        """
        h, mu_x, x_mask = self.encoder(x, x_lengths, c)
        logw = self.dp(h, x_mask, c).float()
        durations = align.predicted_durations(logw, x_mask, length_scale)
        path, frames = align.expand_durations(durations)
        mask = length_mask(frames, path.shape[1])
        mu_y = align.spread(mu_x.float(), path, mask)
        return Prior(mu_y, mask, c, is_ragged(frames)), frames, path

    def render(self, prior: Prior, noise: Tensor, options: SamplingOptions) -> Tensor:
        """Draw mels `(b, m, t)` for planned frames from standard normal `noise (b, m, t)`."""
        absent = (self.fake_speaker, self.fake_content)
        return self.decoder.sample(noise, prior, absent, options)

    @staticmethod
    def _duration_loss(logw: Tensor, path: Tensor, x_mask: Tensor, y_mask: Tensor) -> Tensor:
        counts = align.token_durations(path, y_mask, x_mask.shape[2])
        target = torch.log(1e-8 + counts) * x_mask
        return (logw - target).square().sum() / x_mask.sum()


def _prior_loss(y: Tensor, mu_y: Tensor, mask: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of `y (b, m, t)` under N(mu_y, 1)."""
    nll = 0.5 * ((y - mu_y).square() + math.log(2 * math.pi)) * mask
    return nll.sum() / (mask.sum() * y.shape[1])
