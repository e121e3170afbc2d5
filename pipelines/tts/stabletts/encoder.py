"""What is said and who says it: text encoder, style encoder, duration predictor.

Does not know alphabets (tokens are ids) or recordings (a voice is a mel).
Sources: style encoder after Meta-StyleSpeech (arXiv 2106.03153), durations after VITS (2106.06103).

Axes: b batch · x tokens · t reference frames · m mel bands · h hidden · g condition.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.tts.stabletts.blocks import ChannelNorm, Conv1d, DiTBlock, hide, length_mask
from pipelines.tts.stabletts.config import ModelConfig
from pipelines.tts.stabletts.dropout import Dropout

STYLE_WIDTH = 128  # fixed by the published weights, as are the next three
STYLE_KERNEL = 5
STYLE_HEADS = 2
STYLE_DROPOUT = 0.25
DURATION_DROPOUT = 0.5


class TextEncoder(nn.Module):
    """Tokens → hidden states and the mean mel frame that each token stands for."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hidden_channels
        self.scale = math.sqrt(width)
        self.emb = nn.Embedding(config.n_vocab, width)
        self.encoder = nn.ModuleList(dit_block(config) for _ in range(config.n_enc_layers))
        self.proj = Conv1d(width, config.n_mels, 1)
        nn.init.normal_(self.emb.weight, 0.0, width**-0.5)

    def forward(self, x: Tensor, x_lengths: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode ids `x (b, x)` spoken by voice `c (b, g)`.

        Returns:
            Hidden states `(b, h, x)`, mean mels `(b, m, x)` and the token mask `(b, 1, x)`.
        """
        mask = length_mask(x_lengths, x.shape[1])
        padding = mask if is_ragged(x_lengths) else None
        h = self.embed(x)
        for block in self.encoder:
            h = block(h, c, padding)
        mu: Tensor = hide(self.proj(h), padding)
        return h, mu, mask

    def embed(self, x: Tensor) -> Tensor:
        """Look ids up: `(b, x)` → `(b, h, x)`, scaled to unit variance."""
        rows: Tensor = self.emb(x)
        return (rows * self.scale).transpose(1, 2)


class GatedResidual(nn.Module):
    """A convolution that decides by itself how much it adds."""

    def __init__(self, width: int, kernel_size: int, p_dropout: float) -> None:
        super().__init__()
        self.conv1 = Conv1d(width, 2 * width, kernel_size, padding=kernel_size // 2)
        self.dropout = Dropout(p_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x (b, w, t)` to the same shape."""
        out: Tensor = x + self.dropout(F.glu(self.conv1(x), dim=1))
        return out


class StyleEncoder(nn.Module):
    """A mel of any length → one voice vector."""

    def __init__(self, config: ModelConfig, *, leaks_padding: bool = False) -> None:
        super().__init__()
        self.leaks_padding = leaks_padding
        width = STYLE_WIDTH
        self.spectral = nn.Sequential(
            nn.Linear(config.n_mels, width),
            nn.Mish(),
            Dropout(STYLE_DROPOUT),
            nn.Linear(width, width),
            nn.Mish(),
            Dropout(STYLE_DROPOUT),
        )
        self.temporal = nn.Sequential(
            GatedResidual(width, STYLE_KERNEL, STYLE_DROPOUT),
            GatedResidual(width, STYLE_KERNEL, STYLE_DROPOUT),
        )
        self.slf_attn = nn.MultiheadAttention(
            width, STYLE_HEADS, dropout=STYLE_DROPOUT, batch_first=True
        )
        self.fc = nn.Linear(width, config.gin_channels)

    def forward(self, mel: Tensor, mask: Tensor | None = None) -> Tensor:
        """Summarise `mel (b, m, t)` as `(b, g)`; `mask (b, 1, t)` when the batch is padded."""
        x: Tensor = self.spectral(mel.transpose(1, 2)).transpose(1, 2)
        for block in self.temporal:
            # Without this the biases of the frame-wise layers would enter through the padding.
            if mask is not None and not self.leaks_padding:
                x = hide(x, mask)
            x = block(x)
        x = x.transpose(1, 2)
        hidden_keys = None if mask is None else mask.squeeze(1) == 0
        x, _ = self.slf_attn(x, x, x, key_padding_mask=hidden_keys, need_weights=False)
        x = self.fc(x)
        if mask is None:
            return x.mean(dim=1)
        weights = mask.transpose(1, 2)
        return (x * weights).sum(dim=1) / weights.sum(dim=1)


class DurationPredictor(nn.Module):
    """Hidden states → natural logarithm of frames per token; teaches nothing to the encoders."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, filters = config.hidden_channels, config.filter_channels
        kernel, padding = config.kernel_size, config.kernel_size // 2
        self.conv1 = Conv1d(width, filters, kernel, padding=padding)
        self.norm1 = ChannelNorm(filters)
        self.conv2 = Conv1d(filters, filters, kernel, padding=padding)
        self.norm2 = ChannelNorm(filters)
        self.proj = Conv1d(filters, 1, 1)
        self.cond = Conv1d(config.gin_channels, width, 1)
        self.dropout = Dropout(DURATION_DROPOUT)

    def forward(self, h: Tensor, mask: Tensor, c: Tensor) -> Tensor:
        """Predict `(b, 1, x)` from `h (b, h, x)`, `mask (b, 1, x)` and voice `c (b, g)`."""
        x = h.detach() + self.cond(c.detach().unsqueeze(2))
        x = self.dropout(self.norm1(F.relu(self.conv1(hide(x, mask)))))
        x = self.dropout(self.norm2(F.relu(self.conv2(hide(x, mask)))))
        logw: Tensor = self.proj(hide(x, mask)) * mask
        return logw


def dit_block(config: ModelConfig) -> DiTBlock:
    """Build one block of the sizes in `config`."""
    return DiTBlock(
        config.hidden_channels,
        config.filter_channels,
        config.n_heads,
        config.kernel_size,
        config.p_dropout,
        config.gin_channels,
    )


def is_ragged(lengths: Tensor) -> bool:
    """Tell whether a batch of these lengths has padding."""
    return bool((lengths != lengths.max()).any())
