"""Who learns how fast: new layers fastest, lower layers slowest, some not at all."""

from __future__ import annotations

import re
from typing import Any

import torch

from pipelines.asr.w2v2bert.config import RecogniserConfig
from pipelines.asr.w2v2bert.families import has_language_adapters, is_new, never_learns
from pipelines.asr.w2v2bert.model import Recogniser

NEVER = 2.0
"""A share of the run that never comes."""
ADAPTER_RATE = 1e-3
"""Language adapters are small and new, and learn much faster than an encoder may."""

_LAYER = re.compile(r"\.encoder\.layers\.(\d+)\.")
Group = tuple[int | None, bool]
"""Depth (None: new layers, −1: below the first one), and whether it stays as it is."""


def optimizer_for(recogniser: Recogniser, config: RecogniserConfig) -> torch.optim.Optimizer:
    """AdamW with one group per depth."""
    network: Any = recogniser.network
    groups: dict[Group, list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        depth = None if is_new(network, name) else _depth_of(name)
        groups.setdefault((depth, never_learns(network, name)), []).append(parameter)
    top = max((depth for depth, _ in groups if depth is not None), default=0)
    fastest = config.learning_rate * config.new_layer_factor
    if has_language_adapters(network):
        fastest = max(fastest, ADAPTER_RATE)
    return torch.optim.AdamW(
        [
            {
                "params": members,
                "lr": fastest
                if depth is None
                else config.learning_rate * config.layer_decay ** (top - depth),
                "starts_at": _start(depth, config, stays=stays),
            }
            for (depth, stays), members in groups.items()
        ],
        betas=(0.9, config.beta2),
        weight_decay=0.0,
    )


def _start(depth: int | None, config: RecogniserConfig, *, stays: bool) -> float:
    if stays:
        return NEVER
    return 0.0 if depth is None else config.head_first_fraction


def _depth_of(name: str) -> int:
    match = _LAYER.search(name)
    return int(match[1]) if match else -1
