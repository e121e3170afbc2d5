"""Integrate dx/dt = field(t, x) from t = 0 to t = 1.

Knows nothing about mels; a field is any function of a 0-d time and a state. The update rules and the step-size
control are those of torchdiffeq (its `rk4` is the 3/8 rule), so that results and numbers of evaluations agree.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]


class Solver(StrEnum):
    """How the flow is integrated."""

    EULER = "euler"  # 1 evaluation per step
    MIDPOINT = "midpoint"  # 2
    RK4 = "rk4"  # 4
    DOPRI5 = "dopri5"  # adaptive: the number of steps is its own choice


def integrate(field: Field, x: Tensor, steps: int, solver: Solver) -> Tensor:
    """Carry the state `x` (any shape) from t = 0 to t = 1.

    Args:
        field: Velocity at a 0-d time and a state.
        x: State at t = 0.
        steps: Equal steps of a fixed-step solver; without effect on dopri5.
        solver: Update rule.

    Raises:
        ValueError: Fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if solver is Solver.DOPRI5:
        return _Dopri5(field).run(x)
    step = {Solver.EULER: _euler, Solver.MIDPOINT: _midpoint, Solver.RK4: _rk4}[solver]
    times = torch.linspace(0.0, 1.0, steps + 1, dtype=x.dtype, device=x.device)
    for start, end in pairwise(times):
        x = x + step(field, start, end - start, x)
    return x


def _euler(field: Field, t: Tensor, dt: Tensor, x: Tensor) -> Tensor:
    return dt * field(t, x)


def _midpoint(field: Field, t: Tensor, dt: Tensor, x: Tensor) -> Tensor:
    half = 0.5 * dt
    return dt * field(t + half, x + half * field(t, x))


def _rk4(field: Field, t: Tensor, dt: Tensor, x: Tensor) -> Tensor:
    k1 = field(t, x)
    k2 = field(t + dt / 3, x + dt * k1 / 3)
    k3 = field(t + dt * 2 / 3, x + dt * (k2 - k1 / 3))
    k4 = field(t + dt, x + dt * (k1 - k2 + k3))
    return (k1 + 3 * (k2 + k3) + k4) * dt * 0.125


# Dormand–Prince 5(4): stage times, stage weights (the last row is the 5th-order solution), and the
# difference to the embedded 4th-order solution with Shampine's (1986) coefficients.
_STAGE_TIMES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGE_WEIGHTS = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR_WEIGHTS = (
    35 / 384 - 1951 / 21600,
    0.0,
    500 / 1113 - 22642 / 50085,
    125 / 192 - 451 / 720,
    -2187 / 6784 + 12231 / 42400,
    11 / 84 - 649 / 6300,
    -1 / 60,
)
_MIDDLE_WEIGHTS = (
    6025192743 / 30085553152 / 2,
    0.0,
    51252292925 / 65400821598 / 2,
    -2691868925 / 45128329728 / 2,
    187940372067 / 1594534317056 / 2,
    -1776094331 / 19743644256 / 2,
    11237099 / 235043384 / 2,
)
_ORDER = 5
_SAFETY, _GROW, _SHRINK = 0.9, 10.0, 0.2  # bounds on the next step relative to the last


class _Dopri5:
    """One adaptive integration; the last step overshoots t = 1 and is interpolated back."""

    def __init__(self, field: Field, tolerance: float = 1e-5) -> None:
        self._field = field
        self._tolerance = tolerance  # relative and absolute alike

    def run(self, x: Tensor) -> Tensor:
        t = torch.zeros((), dtype=torch.float64, device=x.device)
        slope = self._slope(t, x)
        dt = self._first_step(t, x, slope)
        while True:
            end, stages = self._attempt(t, dt, x, slope)
            error = dt.to(x.dtype) * _combine(_ERROR_WEIGHTS, stages)
            scale = self._tolerance * (1 + torch.maximum(x.abs(), end.abs()))
            ratio = _rms(error / scale).double()
            if ratio <= 1:
                if t + dt >= 1:
                    return _interpolate(x, end, stages, dt.to(x.dtype), ((1 - t) / dt).to(x.dtype))
                t, x, slope = t + dt, end, stages[-1]
            dt = dt * _step_factor(float(ratio))

    def _slope(self, t: Tensor, x: Tensor) -> Tensor:
        return self._field(t.to(x.dtype), x)

    def _first_step(self, t: Tensor, x: Tensor, slope: Tensor) -> Tensor:
        """Guess a step from the curvature (Hairer, Nørsett, Wanner: Solving ODEs I, II.4)."""
        scale = self._tolerance * (1 + x.abs())
        d0, d1 = _rms(x / scale), _rms(slope / scale)
        tiny = bool(d0 < 1e-5) or bool(d1 < 1e-5)
        h0 = torch.full_like(d0, 1e-6) if tiny else 0.01 * d0 / d1
        ahead = self._slope(t + h0.double(), x + h0 * slope)
        d2 = _rms((ahead - slope) / scale) / h0
        if bool(d1 <= 1e-15) and bool(d2 <= 1e-15):
            h1 = torch.clamp(h0 * 1e-3, min=1e-6)
        else:
            h1 = (0.01 / torch.maximum(d1, d2)) ** (1 / _ORDER)
        return torch.minimum(100 * h0, h1).double()

    def _attempt(
        self, t: Tensor, dt: Tensor, x: Tensor, slope: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the state after `dt` and the seven slopes on the way."""
        stages = [slope]
        state = x
        for fraction, weights in zip(_STAGE_TIMES, _STAGE_WEIGHTS, strict=True):
            at = t + dt if fraction == 1.0 else t + fraction * dt
            state = x + dt.to(x.dtype) * _combine(weights, stages)
            stages.append(self._slope(at, state))
        return state, stages


def _combine(weights: tuple[float, ...], stages: list[Tensor]) -> Tensor:
    total = weights[0] * stages[0]
    for weight, stage in zip(weights[1:], stages[1:], strict=True):
        if weight:
            total = total + weight * stage
    return total


def _rms(x: Tensor) -> Tensor:
    return x.pow(2).mean().sqrt()


def _step_factor(ratio: float) -> float:
    if ratio == 0:
        return _GROW
    shrink = 1.0 if ratio < 1 else _SHRINK
    wanted: float = _SAFETY / ratio ** (1 / _ORDER)
    return min(_GROW, max(wanted, shrink))


def _interpolate(
    start: Tensor, end: Tensor, stages: list[Tensor], dt: Tensor, at: Tensor
) -> Tensor:
    """Read the quartic through start, middle and end at the fraction `at` of the step."""
    f0, f1 = stages[0], stages[-1]
    middle = start + dt * _combine(_MIDDLE_WEIGHTS, stages)
    a = 2 * dt * (f1 - f0) - 8 * (end + start) + 16 * middle
    b = dt * (5 * f0 - 3 * f1) + 18 * start + 14 * end - 32 * middle
    c = dt * (f1 - 4 * f0) - 11 * start - 5 * end + 16 * middle
    return start + at * (dt * f0 + at * (c + at * (b + at * a)))
