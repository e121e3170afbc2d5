"""Dropout that does not cost more than what it drops from.

A CPU draws one number after another: torch's dropout takes a double for each element, which is a quarter of a
training step of this model. Sixteen bits decide as well, and four decisions fit into one draw. On a GPU it is
torch's own, which is fused there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with its probability rounded to 1/65536 on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements of `x` while training and scale the others up."""
        return drop(x, self.p) if self.training else x


def drop(x: Tensor, p: float) -> Tensor:
    """Zero each element of `x` (any shape) with probability `p`, scale the others by 1 / (1 - p)."""
    if p == 0.0 or x.device.type != "cpu":
        return F.dropout(x, p)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    levels = draws.view(torch.int16)[: x.numel()].view(x.shape)
    threshold = round(p * _LEVELS) - _LEVELS // 2
    kept = (levels >= threshold).to(x.dtype)
    return x * kept.mul_(1 / (1 - p))
