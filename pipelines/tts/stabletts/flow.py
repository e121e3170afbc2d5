"""Conditional flow matching: how the decoder learns, and how it turns noise into a mel.

Does not know text or alignment: it receives what each frame should sound like on average.
Sources: flow matching (arXiv 2210.02747), cosine time of CosyVoice (2407.05407), guidance (2207.12598).

Axes: b batch · m mel bands · t frames · h hidden · g condition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipelines.tts.stabletts.config import ModelConfig
from pipelines.tts.stabletts.decoder import VelocityEstimator
from pipelines.tts.stabletts.solvers import Field, Solver, integrate

SIGMA_MIN = 1e-4  # standard deviation that is left at t = 1


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How a mel is drawn; ten Euler steps cost a fraction of the adaptive solver."""

    steps: int = 10
    solver: Solver = Solver.EULER
    guidance: float = 3.0  # 1 = none; higher keeps closer to text and voice
    temperature: float = 1.0  # standard deviation of the starting noise
    length_scale: float = 1.0  # > 1 speaks slower
    joint_branches: bool = False  # both guidance branches in one batch: for GPUs, no gain on CPUs


@dataclass(frozen=True, slots=True)
class Prior:
    """What a batch of frames should sound like, and who says it."""

    mu: Tensor  # (b, m, t)
    mask: Tensor  # (b, 1, t)
    c: Tensor  # (b, g)
    padded: bool  # whether the mask hides anything

    @property
    def padding(self) -> Tensor | None:
        """The mask where it hides something."""
        return self.mask if self.padded else None


class FlowDecoder(nn.Module):
    """The velocity field with its training loss and its sampler."""

    def __init__(self, config: ModelConfig, *, leaks_padding: bool = False) -> None:
        super().__init__()
        self.leaks_padding = leaks_padding
        self.estimator = VelocityEstimator(config, leaks_padding=leaks_padding)

    def loss(self, y: Tensor, prior: Prior, u_time: Tensor, noise: Tensor) -> Tensor:
        """Return the mean squared velocity error, a scalar.

        Args:
            y: Real mel, `(b, m, t)`.
            prior: Conditions of the batch.
            u_time: Uniform draws, `(b, 1, 1)`, bent so that small times are visited more often.
            noise: Standard normal draws, `(b, m, t)`.
        """
        t = 1 - torch.cos(u_time * (0.5 * math.pi))
        x = (1 - (1 - SIGMA_MIN) * t) * noise + t * y
        target = y - (1 - SIGMA_MIN) * noise
        if not self.leaks_padding:
            target = target * prior.mask
        condition = self.estimator.condition(prior.mu, prior.padding)
        v = self.estimator(t.reshape(-1), x, condition, prior.padding, prior.c)
        error: Tensor = (v.float() - target).square().sum()
        return error / (prior.mask.sum() * y.shape[1])

    def sample(
        self, noise: Tensor, prior: Prior, absent: tuple[Tensor, Tensor], options: SamplingOptions
    ) -> Tensor:
        """Integrate `noise (b, m, t)` (standard normal) to a mel of the same shape.

        Args:
            noise: State at t = 0 before the temperature.
            prior: Conditions of the batch.
            absent: The learned stand-ins for voice `(1, g)` and content `(1, m, 1)`.
            options: Solver and strengths.
        """
        field = self.guided_field(prior, absent, options)
        mel = integrate(field, noise * options.temperature, options.steps, options.solver)
        return mel if self.leaks_padding else mel * prior.mask

    def guided_field(
        self, prior: Prior, absent: tuple[Tensor, Tensor], options: SamplingOptions
    ) -> Field:
        """Return the velocity as a function of time and state, conditions digested once."""
        conditional = self._field(prior)
        if options.guidance == 1.0:
            return conditional
        batch, _, frames = prior.mu.shape
        no_voice, no_content = absent
        content = no_content.expand(batch, -1, frames)
        unconditional = Prior(content, prior.mask, no_voice.expand(batch, -1), prior.padded)
        strength = options.guidance
        if options.joint_branches:
            both = self._field(_stack(prior, unconditional))

            def joint(t: Tensor, x: Tensor) -> Tensor:
                v, v_absent = both(t, torch.cat((x, x))).chunk(2)
                return v_absent + strength * (v - v_absent)

            return joint
        free = self._field(unconditional)

        def separate(t: Tensor, x: Tensor) -> Tensor:
            v, v_absent = conditional(t, x), free(t, x)
            return v_absent + strength * (v - v_absent)

        return separate

    def _field(self, prior: Prior) -> Field:
        condition = self.estimator.condition(prior.mu, prior.padding)

        def velocity(t: Tensor, x: Tensor) -> Tensor:
            v: Tensor = self.estimator(t, x, condition, prior.padding, prior.c)
            # A copy: where the network is replayed as a graph, its next output lies in the same place.
            return v.to(x.dtype, copy=True)

        return velocity


def _stack(first: Prior, second: Prior) -> Prior:
    """Put two batches of conditions behind each other."""
    return Prior(
        torch.cat((first.mu, second.mu)),
        torch.cat((first.mask, second.mask)),
        torch.cat((first.c, second.c)),
        first.padded,
    )
