"""Which token each frame belongs to: searched while training, predicted while speaking.

Knows scores and durations, not networks. Source of the search: Glow-TTS (arXiv 2005.11129).

Axes: b batch · x tokens · t frames · m mel bands.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_TOKEN_FRAMES = 200  # ≈ 2.3 s: a longer token is a mistake, and must not allocate minutes


def frame_scores(y: Tensor, mu: Tensor) -> Tensor:
    """Return log N(frame; token mean, 1) for every pair: `y (b, m, t)`, `mu (b, m, x)` → `(b, t, x)`."""
    constant = -0.5 * math.log(2 * math.pi) * y.shape[1]
    frames = -0.5 * y.square().sum(dim=1).unsqueeze(2)  # (b, t, 1)
    tokens = -0.5 * mu.square().sum(dim=1).unsqueeze(1)  # (b, 1, x)
    return constant + frames + y.transpose(1, 2) @ mu + tokens


def search(scores: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
    """Find the best monotonic alignment: every token in order, none skipped.

    Exact, and a tie keeps the later token. Runs where the scores are: on the host one pass of NumPy rows over
    the whole batch, on a device the same pass in torch without a copy back.

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
    return torch.from_numpy(_search_rows(scores.numpy(), frames.numpy(), tokens.numpy()))


def _search_rows(
    scores: NDArray[np.float32], frames: NDArray[np.int64], tokens: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Search with three vector operations per frame over all items and tokens."""
    batch, length, width = scores.shape
    # One flat row holds (b, 1 + x): the best sum that ends in each token at the current frame, led
    # by "before the first token", which is reachable only before the first frame. Flat, because
    # the shifted views then are contiguous.
    stride = width + 1
    best = np.full(batch * stride + 1, -np.inf, dtype=np.float32)
    before, ends = best[:-1:stride], best[:-1].reshape(batch, stride)[:, 1:]
    stay, come = best[1:-1], best[:-2]
    better = np.empty(batch * stride, dtype=np.float32)
    better_ends = better.reshape(batch, stride)[:, :-1]
    came = np.empty((length, batch * stride - 1), dtype=np.bool_)

    before[:] = 0.0
    for row, moved in zip(scores.transpose(1, 0, 2), came, strict=True):
        np.less(stay, come, out=moved)
        np.maximum(stay, come, out=better[:-1])
        np.add(better_ends, row, out=ends)
        before[:] = -np.inf
    return _walk_back(came, frames, tokens, stride)


def _walk_back(
    came: NDArray[np.bool_], frames: NDArray[np.int64], tokens: NDArray[np.int64], stride: int
) -> NDArray[np.int64]:
    """Follow the moves from each item's last frame and token to the first: `(b, t)`."""
    length, batch = len(came), len(frames)
    starts = np.arange(batch) * stride
    active = np.arange(length)[:, None] < frames
    shortest = int(frames.min())
    position = starts + tokens - 1
    path = np.empty((length, batch), dtype=np.int64)
    for j in range(length - 1, 0, -1):
        path[j] = position
        moved = came[j].take(position)
        position -= moved if j < shortest else moved & active[j]
    path[0] = position
    return np.ascontiguousarray(np.where(active, path - starts, 0).T)


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
