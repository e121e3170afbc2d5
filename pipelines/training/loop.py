"""The one training loop: readable from top to bottom, deterministic, and able to stop at any step.

    resume ─► for each epoch: steps (poll, losses, one optimiser step) ─► evaluate ─► keep the best
                 └─ every few minutes and every few epochs: save the whole state

A model family brings a `TrainingTask`; the loop knows no audio, no text and no jobs. Batches are a
function of the epoch, the learning rate one of the share of the run that is done, and the random numbers
of a batch one of its place in the run: on a CPU a resumed run equals an uninterrupted one, and a run of
several processes (team.py) one that takes the same steps alone.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from pipelines.errors import TrainingDiverged
from pipelines.progress import Progress
from pipelines.training.checkpoint import CheckpointStore
from pipelines.training.metrics_csv import MetricsLog
from pipelines.training.recipe import Recipe
from pipelines.training.state import load_state, save_state
from pipelines.training.team import ALONE, Team

logger = logging.getLogger(__name__)

BatchT = TypeVar("BatchT")

LOWEST_RATE = 0.05
"""The learning rate ends at this share of its peak."""
BAD_STEPS_IN_A_ROW = 3
METRICS_CSV = "training_metrics.csv"
STATE, BEST = "step", "best"
"""Kinds of checkpoints: the state of the run, and the best model so far."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of one batch: `total` is a scalar with a gradient, `parts` are for the curve.

    `weight` is what the batch counts in a mean, for instance its number of clips.
    """

    total: Tensor
    weight: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the model is: `score` decides (lower is better), `metrics` are for the curve."""

    score: float
    metrics: Mapping[str, float | None]


class TrainingTask(Protocol[BatchT]):
    """What a model family brings to the loop."""

    @property
    def model(self) -> nn.Module:
        """The weights to train, on their device."""

    @property
    def columns(self) -> Sequence[str]:
        """Metric names of the curve, in order; "train_" + each part of the loss, then metrics."""

    def steps(self, epoch: int) -> Sequence[Sequence[BatchT]]:
        """Batches of each optimiser step of an epoch, the same ones at every call."""

    def loss(self, batch: BatchT) -> Loss:
        """Run the model forward."""

    def evaluate(self, poll: Callable[[], None]) -> Evaluation:
        """Measure the model in evaluation mode; calls `poll` between batches, which may raise."""

    def export(self, directory: Path) -> None:
        """Write what inference needs into an empty directory."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a run ended; `best` is a directory that `TrainingTask.export` wrote."""

    best: Path
    best_epoch: int
    best_metrics: Mapping[str, float | None]
    epochs_completed: int
    resumed_at_epoch: int | None


def rate_factor(done: float, warmup_fraction: float) -> float:
    """Learning rate as a share of its peak after a share `done` of the run: linear up, cosine down."""
    if done < warmup_fraction:
        return done / warmup_fraction
    left = (done - warmup_fraction) / max(1.0 - warmup_fraction, 1e-9)
    return LOWEST_RATE + (1.0 - LOWEST_RATE) * 0.5 * (1.0 + math.cos(math.pi * min(left, 1.0)))


def fit(
    task: TrainingTask[BatchT],
    optimizer: torch.optim.Optimizer,
    config: Recipe,
    home: Path,
    progress: Progress,
    team: Team = ALONE,
) -> FitResult:
    """Train until the epochs are over or nothing improves; goes on from what `home` holds.

    The optimiser's groups may carry "starts_at": a share of the run before which they stay frozen.

    Raises:
        TrainingDiverged: the loss stopped being a number, twice.
        SystemExit: in every process of a team but its writer, when the run is over or stopped.
    """
    run = _Run(task, optimizer, config, home, progress, team)
    with torch.random.fork_rng():
        resumed_at = run.resume()
        while run.has_more():
            try:
                run.train_epoch()
            except _NotFinite:
                run.start_over()
                continue
            run.finish_epoch()
    if not team.writes:
        raise SystemExit(0)
    return run.result(resumed_at)


def best_so_far(home: Path) -> Path | None:
    """The best exported model of a run that is over or was stopped; None before the first."""
    return CheckpointStore(home, BEST, keep=1).latest()


class _NotFinite(Exception):
    """Several steps in a row had a loss that is not a number."""


@dataclass(slots=True)
class _Position:
    """Where a run is; part of the saved state."""

    epoch: int = 0
    """Completed epochs."""
    in_epoch: int = 0
    """Steps done in the current one."""
    step: int = 0
    """Steps done in all."""
    best_score: float | None = None
    best_epoch: int = 0
    best_metrics: dict[str, float | None] = field(default_factory=dict)
    stale: int = 0
    """Evaluations since the last improvement."""
    rate_scale: float = 1.0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_weight: float = 0.0


@dataclass(slots=True)
class _Sums:
    """What one process has to add to a step; plain values, so that a team can exchange them."""

    weight: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    is_finite: bool = True
    touched: frozenset[int] = frozenset()
    """Numbers of the parameters that have a gradient."""

    def add(self, other: _Sums) -> None:
        self.weight += other.weight
        self.is_finite &= other.is_finite
        self.touched |= other.touched
        for name, value in other.parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + value


class _Run(Generic[BatchT]):
    def __init__(
        self,
        task: TrainingTask[BatchT],
        optimizer: torch.optim.Optimizer,
        config: Recipe,
        home: Path,
        progress: Progress,
        team: Team,
    ) -> None:
        self.task = task
        self.team = team
        self.optimizer = optimizer
        self.config = config
        self.progress = progress
        self.at = _Position()
        self.states = CheckpointStore(home, STATE, keep=2)
        self.bests = CheckpointStore(home, BEST, keep=1)
        self.metrics = MetricsLog(home / METRICS_CSV, task.columns)
        self.saved_at_s = time.monotonic()
        for group in optimizer.param_groups:
            group.setdefault("peak_lr", group["lr"])
            group.setdefault("starts_at", 0.0)

    def resume(self) -> int | None:
        """Go on from the newest intact state; returns its epoch, None for a fresh start."""
        newest = self.team.follow(self.states.latest())
        if newest is None:
            self._cut_curve_back()
            return None
        self._load(newest)
        logger.info("resumed at epoch %d, step %d", self.at.epoch, self.at.step)
        return self.at.epoch

    def has_more(self) -> bool:
        patience = self.config.patience
        return self.at.epoch < self.config.epochs and (patience is None or self.at.stale < patience)

    def train_epoch(self) -> None:
        """Do what is left of the current epoch."""
        self.task.model.train()
        steps = self.task.steps(self.at.epoch)
        bad_steps = 0
        message = f"Training epoch {self.at.epoch + 1} of {self.config.epochs}"
        while self.at.in_epoch < len(steps):
            self._poll(message, self.at.in_epoch / len(steps))
            self._set_rates(self.at.epoch + (self.at.in_epoch + 1) / len(steps))
            is_finite = self._step(steps[self.at.in_epoch])
            bad_steps = 0 if is_finite else bad_steps + 1
            if bad_steps == BAD_STEPS_IN_A_ROW:
                raise _NotFinite
            self.at.in_epoch += 1
            self.at.step += 1
            if time.monotonic() - self.saved_at_s > self.config.checkpoint_every_s:
                self._save()

    def finish_epoch(self) -> None:
        """Write the curve, evaluate when it is time, keep the best model and the state."""
        completed = self.at.epoch + 1
        weight = max(self.at.loss_weight, 1e-9)
        row: dict[str, float | None] = {
            f"train_{name}": value / weight for name, value in self.at.loss_sums.items()
        }
        is_last = completed == self.config.epochs
        if is_last or completed % self.config.evaluate_every_epochs == 0:
            row.update(self._evaluate(completed))
        if self.team.writes:
            self.metrics.append(completed, row)
        self.at.epoch, self.at.in_epoch = completed, 0
        self.at.loss_sums, self.at.loss_weight = {}, 0.0
        if is_last or completed % self.config.checkpoint_every_epochs == 0:
            self._save()

    def start_over(self) -> None:
        """Go back to the last good state with half the learning rate, once."""
        newest = self.team.follow(self.states.latest())
        if newest is None or self.at.rate_scale < 1.0:
            raise TrainingDiverged(
                "The training became unstable; a smaller learning rate or more recordings may help."
            )
        self._load(newest)
        self.at.rate_scale = 0.5
        logger.warning("loss was not finite: back to epoch %d at half the rate", self.at.epoch)

    def result(self, resumed_at: int | None) -> FitResult:
        best = self.bests.latest()
        if best is None:
            raise TrainingDiverged("No usable model came out of the training.")
        return FitResult(best, self.at.best_epoch, self.at.best_metrics, self.at.epoch, resumed_at)

    def _step(self, batches: Sequence[BatchT]) -> bool:
        """One optimiser step over the mean of its batches; skipped when a loss is not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        step = _Sums()
        for sums in self.team.gather(self._accumulate(self.team.share(batches))):
            step.add(sums)
        if not step.is_finite:
            return False
        gradients = self._gradients(step.touched)
        self.team.add_up(gradients)
        for gradient in gradients:
            gradient.div_(step.weight)
        norm = nn.utils.clip_grad_norm_(self.task.model.parameters(), self.config.clip_norm)
        if not math.isfinite(norm.item()):
            return False
        self.optimizer.step()
        self.at.loss_weight += step.weight
        for name, value in step.parts.items():
            self.at.loss_sums[name] = self.at.loss_sums.get(name, 0.0) + value
        return True

    def _accumulate(self, batches: Sequence[tuple[int, BatchT]]) -> _Sums:
        """Add up the gradients of batches, each with its place in the step."""
        sums = _Sums()
        for place, batch in batches:
            dice = random.Random(f"{self.config.seed}/{self.at.epoch}/{self.at.in_epoch}/{place}")
            torch.manual_seed(dice.getrandbits(63))
            loss = self.task.loss(batch)
            total = loss.total.item()
            if not math.isfinite(total):
                return _Sums(is_finite=False)
            torch.autograd.backward([loss.total * loss.weight])
            values = {"total_loss": total, **loss.parts}
            parts = {name: value * loss.weight for name, value in values.items()}
            sums.add(_Sums(loss.weight, parts))
        parameters = enumerate(self.task.model.parameters())
        sums.touched = frozenset(index for index, one in parameters if one.grad is not None)
        return sums

    def _gradients(self, touched: frozenset[int]) -> list[Tensor]:
        """The gradients that somebody in the team has; zeros where it is somebody else."""
        gradients = []
        for index, parameter in enumerate(self.task.model.parameters()):
            if index in touched:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        return gradients

    def _set_rates(self, epochs_done: float) -> None:
        done = epochs_done / self.config.epochs
        factor = rate_factor(done, self.config.warmup_fraction) * self.at.rate_scale
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
            for parameter in group["params"]:
                parameter.requires_grad_(done >= group["starts_at"])

    def _evaluate(self, epoch: int) -> Mapping[str, float | None]:
        message = f"Checking the model after epoch {epoch} of {self.config.epochs}"
        self.task.model.eval()
        with torch.no_grad():
            # All measure, which costs no time, and the writer's numbers count: GPUs may differ.
            mine = self.task.evaluate(lambda: self._poll(message, 1.0))
        evaluation = self.team.follow(mine)
        if self.at.best_score is None or evaluation.score < self.at.best_score:
            if self.team.writes:
                self.bests.save(self.at.step, self.task.export)
            self.at.best_score, self.at.best_epoch = evaluation.score, epoch
            self.at.best_metrics, self.at.stale = dict(evaluation.metrics), 0
        else:
            self.at.stale += 1
        return evaluation.metrics

    def _poll(self, message: str, epoch_fraction: float) -> None:
        """Report, and save the state before passing on whatever tells us to stop."""
        fraction = (self.at.epoch + epoch_fraction) / self.config.epochs
        reason: BaseException | None = None
        if self.team.writes:
            try:
                self.progress(message, epoch=self.at.epoch, fraction=fraction)
            except BaseException as stop:  # noqa: BLE001  the others have to hear of it first
                reason = stop
        if self.team.follow(reason is not None):
            self._save()
            raise reason or SystemExit(0)

    def _save(self) -> None:
        facts = asdict(self.at)

        def write(directory: Path) -> None:
            save_state(directory, self.task.model, self.optimizer, facts)

        if self.team.writes:
            self.states.save(self.at.step, write)
        self.saved_at_s = time.monotonic()

    def _load(self, directory: Path) -> None:
        facts: dict[str, Any] = load_state(directory, self.task.model, self.optimizer)
        self.at = _Position(**facts)
        self._cut_curve_back()

    def _cut_curve_back(self) -> None:
        """Forget what a run that died wrote after its last state."""
        if self.team.writes:
            self.metrics.cut_back(self.at.epoch)
