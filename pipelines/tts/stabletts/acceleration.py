"""What a device gains from, when a voice speaks many verses: one switch, `compiled`, and the device decide.

    always              the velocity network's weights rounded, joined and laid out once, not at every call
    CPU                 few verses at once: many push each other out of its cache
    CPU, compiled       the velocity network as C++ of its own; needs the machine's compiler
    GPU                 both guidance branches in one batch (two half-filled kernels cost as much as a full one)
    GPU, compiled       also graphs that are replayed without the host; a graph has one size, so lengths are
                        rounded up to buckets

On the CPU that was measured, compiling cost 15 s and made speaking a tenth slower: torch's own kernels do nearly all of
the work. The GPU's side has not been run yet.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from pipelines.tts.stabletts.blocks import Conv1d, RotaryAttention
from pipelines.tts.stabletts.flow import Prior
from pipelines.tts.stabletts.model import StableTTS

BUCKET_FRAMES = 64
CPU_TOKENS = 1_000
"""About four verses of seven seconds; eight took an eighth longer than one by one, four as long."""


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How to compute."""

    joint_branches: bool = False
    bucket_frames: int = 1
    most_tokens: int | None = None
    """That are worth speaking at once."""
    compile_mode: str | None = None
    """Of `torch.compile`; None leaves the network as it is."""


def choose_acceleration(device: torch.device, *, compiled: bool) -> Acceleration:
    """Return what suits a device."""
    if device.type != "cuda":
        mode = "default" if compiled else None
        return Acceleration(most_tokens=CPU_TOKENS, compile_mode=mode)
    if not compiled:
        return Acceleration(joint_branches=True)
    return Acceleration(
        joint_branches=True, bucket_frames=BUCKET_FRAMES, compile_mode="reduce-overhead"
    )


def accelerate(model: StableTTS, how: Acceleration, dtype: torch.dtype) -> StableTTS:
    """Return a model that can only speak, and does it quicker.

    Args:
        model: Stays as it is; all but the velocity network, which is called at every step, is shared.
        how: What the device gains from.
        dtype: What the network multiplies in.
    """
    shared = {id(part): part for part in (model.encoder, model.ref_encoder, model.dp)}
    quick = copy.deepcopy(model, shared)
    estimator = quick.decoder.estimator.requires_grad_(requires_grad=False).to(dtype)
    for kind in (RotaryAttention, Conv1d):
        for module in list(estimator.modules()):
            if isinstance(module, kind):
                module.settle()
    if how.compile_mode is not None:
        # Buckets make few sizes, and a graph each; without them one program serves all lengths.
        is_one_size = how.bucket_frames > 1
        estimator.compile(mode=how.compile_mode, dynamic=not is_one_size)
    return quick


def to_bucket(prior: Prior, how: Acceleration) -> Prior:
    """Lengthen conditions of `t` frames with padding to the next bucket."""
    missing = -prior.mu.shape[2] % how.bucket_frames
    if not missing:
        return prior
    mu, mask = (F.pad(part, (0, missing)) for part in (prior.mu, prior.mask))
    return Prior(mu, mask, prior.c, padded=True)
