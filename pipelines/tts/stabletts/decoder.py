"""The velocity field of the flow: which way a noisy mel must move at time t.

Does not know integration or losses (flow.py). Sources: DiT (arXiv 2212.09748), long skips of U-ViT (2209.12152),
FiLM (1709.07871).

Axes: b batch · t frames · m mel bands · h hidden · f filter · g condition.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pipelines.tts.stabletts.blocks import Conv1d, DiTBlock, hide, join, sinusoid
from pipelines.tts.stabletts.config import ModelConfig
from pipelines.tts.stabletts.encoder import dit_block


class TimeEmbedding(nn.Module):
    """Flow time → vector."""

    def __init__(self, width: int, filters: int) -> None:
        super().__init__()
        self.width = width
        self.layer = nn.Sequential(nn.Linear(width, filters), nn.SiLU(), nn.Linear(filters, width))

    def forward(self, t: Tensor) -> Tensor:
        """Embed `t (b)` or a single time `()` as `(b, h)` or `(1, h)`."""
        out: Tensor = self.layer(sinusoid(t.reshape(-1), self.width))
        return out


class FiLM(nn.Module):
    """Scale and shift every channel by the time (the scale is used as it is, without 1+)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.film = Conv1d(channels, 2 * channels, 1)

    def forward(self, x: Tensor, tau: Tensor) -> Tensor:
        """Modulate `x (b, h, t)` by the time `tau (b, h)`."""
        gamma, beta = self.film(tau.unsqueeze(2)).chunk(2, dim=1)
        out: Tensor = gamma * x + beta
        return out


class TimedBlock(nn.Module):
    """A DiT block that also hears the time."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.time_fusion = FiLM(config.hidden_channels)
        self.block: DiTBlock = dit_block(config)

    def forward(self, x: Tensor, tau: Tensor, c: Tensor, mask: Tensor | None) -> Tensor:
        """Transform `x (b, h, t)` at time `tau (b, h)` for voice `c (b, g)`."""
        out: Tensor = self.block(self.time_fusion(x, tau), c, mask)
        return out


class VelocityEstimator(nn.Module):
    """U-shaped stack of timed DiT blocks; the second half receives the inputs of the first."""

    def __init__(self, config: ModelConfig, *, leaks_padding: bool = False) -> None:
        super().__init__()
        self.leaks_padding = leaks_padding
        self.computes_twice = False
        """Whether gradients are worth computing the blocks' activations again, rather than keeping them."""
        width, filters = config.hidden_channels, config.filter_channels
        kernel, pad = config.kernel_size, config.kernel_size // 2
        half = config.n_dec_layers // 2
        self.time_mlp = TimeEmbedding(width, filters)
        self.in_proj = Conv1d(config.n_mels + width, width, 1)
        self.blocks = nn.ModuleList(TimedBlock(config) for _ in range(config.n_dec_layers))
        self.final_proj = Conv1d(width, config.n_mels, 1)
        self.cond_proj = nn.Sequential(
            Conv1d(config.n_mels, filters, kernel, padding=pad),
            nn.SiLU(),
            Conv1d(filters, filters, kernel, padding=pad),
            nn.SiLU(),
            Conv1d(filters, width, kernel, padding=pad),
        )
        self.lsc_layers = nn.ModuleList(
            Conv1d(2 * width, width, kernel, padding=pad) for _ in range(half)
        )

    def condition(self, mu: Tensor, mask: Tensor | None) -> Tensor:
        """Digest the aligned text `mu (b, m, t)` to `(b, h, t)`; `mask` as in `forward`.

        The result depends on neither time nor noise: compute it once per utterance.
        """
        if self.leaks_padding:
            mask = None
        conv_in, silu, conv_mid, _, conv_out = self.cond_proj
        inner = silu(conv_in(hide(mu, mask)))
        inner = silu(conv_mid(hide(inner, mask)))
        condition: Tensor = conv_out(hide(inner, mask))
        return condition

    def forward(
        self, t: Tensor, x: Tensor, condition: Tensor, mask: Tensor | None, c: Tensor
    ) -> Tensor:
        """Return the velocity `(b, m, t)` of the noisy mel at time `t`.

        Args:
            t: Flow time, `(b)`, or `()` for one time for all.
            x: Noisy mel, `(b, m, t)`.
            condition: What `condition` returned for the aligned text, `(b, h, t)`.
            mask: `(b, 1, t)`, 1.0 on valid frames; None if nothing is padded.
            c: Voice, `(b, g)`.
        """
        tau = self.time_mlp(t)
        h = self.in_proj(join(x, condition))
        if not self.leaks_padding:
            h = hide(h, mask)
        skips: list[Tensor] = []
        half = len(self.lsc_layers)
        for i, block in enumerate(self.blocks):
            if i < half:
                skips.append(h)
            else:
                h = self.lsc_layers[i - half](join(h, skips.pop()))
            h = self._through(block, h, tau, c, mask)
        return hide(self.final_proj(h), mask)

    def _through(self, block: nn.Module, *inputs: Tensor | None) -> Tensor:
        if self.computes_twice and torch.is_grad_enabled():
            again: Tensor = checkpoint(block, *inputs, use_reentrant=False)
            return again
        out: Tensor = block(*inputs)
        return out
