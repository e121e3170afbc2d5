"""Which token each frame belongs to: searched while training, predicted while speaking.

Knows scores and durations, not networks. Source of the search: Glow-TTS (arXiv 2005.11129).

Axes: b batch · x tokens · t frames · m mel bands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipelines.tts.stabletts.compiled_search import compiled_search

MAX_TOKEN_FRAMES = 200  # ≈ 2.3 s: a longer token is a mistake, and must not allocate minutes


def frame_scores(y: Tensor, mu: Tensor) -> Tensor:
    """Return log N(frame; token mean, 1) for every pair: `y (b, m, t)`, `mu (b, m, x)` → `(b, t, x)`."""
    constant = -0.5 * math.log(2 * math.pi) * y.shape[1]
    frames = -0.5 * y.square().sum(dim=1).unsqueeze(2)  # (b, t, 1)
    tokens = -0.5 * mu.square().sum(dim=1).unsqueeze(1)  # (b, 1, x)
    return constant + frames + y.transpose(1, 2) @ mu + tokens


def search(scores: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """Find the best monotonic alignment: every token in order, none skipped.

    Exact, and a tie keeps the later token. Runs where the scores are: on the host as one compiled loop, on a
    device as rows of torch operations without a copy back.

    Args:
        scores: `(b, t, x)`, higher is better.
        frames: Valid frames per item, `(b)`.
        tokens: Valid tokens per item, `(b)`, never more than its frames.

    Returns:
        Token index of each frame, `(b, t)`; 0 on padding.

    Raises:
        ValueError: An item has more tokens than frames, or none.
    """
    if bool((tokens > frames).any()) or bool((tokens < 1).any()):
        raise ValueError(
            f"every item needs 1 ≤ tokens ≤ frames, got {tokens.tolist()} and {frames.tolist()}"
        )
    scores = scores.detach().to(torch.float32)
    if scores.device.type != "cpu":
        return search_on_device(scores, frames, tokens)
    path = torch.zeros(scores.shape[:2], dtype=torch.int64)
    arrays = (scores.contiguous().numpy(), frames.numpy(), tokens.numpy(), path.numpy())
    compiled_search()(*arrays)
    return path


def search_on_device(scores: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """Do the same as `search` in torch operations only, so that nothing waits for the host."""
    batch, length, width = scores.shape
    best = scores.new_full((batch, width + 1), -math.inf)
    best[:, 0] = 0.0
    came = torch.empty((length, batch, width), dtype=torch.bool, device=scores.device)
    for j in range(length):
        stay, come = best[:, 1:], best[:, :-1]
        came[j] = stay < come
        row = torch.maximum(stay, come) + scores[:, j]
        best = torch.cat((best.new_full((batch, 1), -math.inf), row), dim=1)
    steps = torch.arange(length, device=scores.device)[:, None]
    valid = steps < frames
    came &= valid.unsqueeze(2)
    position = (tokens - 1).clone()
    path = torch.empty((length, batch), dtype=torch.int64, device=scores.device)
    for j in range(length - 1, -1, -1):
        path[j] = position
        position = position - came[j].gather(1, position[:, None]).squeeze(1).long()
        position = position.clamp(min=0)  # the first frame "comes" from before the first token
    return torch.where(valid, path, 0).T.contiguous()


def token_durations(path: Tensor, frame_mask: Tensor, n_tokens: int) -> Tensor:
    """Count frames per token: `path (b, t)`, `frame_mask (b, 1, t)` → `(b, 1, x)`."""
    counts = frame_mask.new_zeros((path.shape[0], n_tokens))
    counts.scatter_add_(1, path, frame_mask.squeeze(1))
    return counts.unsqueeze(1)


def predicted_durations(logw: Tensor, mask: Tensor, length_scale: float) -> Tensor:
    """Turn log frames `(b, 1, x)` into frames per token `(b, x)`.

    The scale is applied after rounding up, as in the original, so durations may be fractional.
    """
    # An overflow of exp is caught by the clamp as well.
    frames = torch.ceil(torch.exp(logw) * mask).clamp(max=MAX_TOKEN_FRAMES)
    return (frames * length_scale).squeeze(1)


def expand_durations(durations: Tensor) -> tuple[Tensor, Tensor]:
    """Lay tokens out in time: `durations (b, x)` → token per frame `(b, t)` and frames `(b)`."""
    frames = durations.sum(dim=1).clamp(min=1).long()
    ends = durations.cumsum(dim=1)
    j = torch.arange(int(frames.max()), device=durations.device, dtype=ends.dtype)
    path = torch.searchsorted(ends, j.expand(len(ends), -1).contiguous(), right=True)
    path = path.clamp(max=durations.shape[1] - 1)
    return torch.where(j < frames[:, None], path, 0), frames


def spread(values: Tensor, path: Tensor, frame_mask: Tensor) -> Tensor:
    """Give each frame its token's values: `(b, m, x)` → `(b, m, t)`, zero on padding."""
    index = path.unsqueeze(1).expand(-1, values.shape[1], -1)
    return values.gather(2, index) * frame_mask
