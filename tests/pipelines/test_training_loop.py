"""The training loop with a model of four weights: rates, accumulation, stopping, divergence."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Barrier

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.errors import TrainingDiverged
from pipelines.progress import ignore_progress
from pipelines.training.loop import Evaluation, Loss, best_so_far, fit, rate_factor
from pipelines.training.recipe import Recipe
from pipelines.training.team import ALONE, Team


class LineTask:
    """Learns y = 2 x; each batch is a list of points. `bad_calls` are losses that are no number."""

    columns = ("train_total_loss", "val_total_loss")

    def __init__(self, *, batches_per_step=1, bad_calls=(), dropout=0.2):
        self.model = nn.Sequential(nn.Linear(1, 1), nn.Dropout(dropout), nn.Linear(1, 1))
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.fill_(0.5)
        self.calls = 0
        self._bad = set(bad_calls)
        self._batches_per_step = batches_per_step

    def steps(self, epoch):
        points = [[epoch + 1.0], [2.0], [3.0, -1.0], [4.0]]
        size = self._batches_per_step
        return [points[start : start + size] for start in range(0, len(points), size)]

    def loss(self, batch):
        self.calls += 1
        x = torch.tensor(batch)[:, None] / 4
        total = ((self.model(x) - 2 * x) ** 2).mean()
        if self.calls in self._bad:
            total = total * torch.nan
        return Loss(total, weight=len(batch))

    def evaluate(self, poll):
        poll()
        x = torch.tensor([[1.0], [2.0]]) / 4
        value = float(((self.model(x) - 2 * x) ** 2).mean())
        return Evaluation(value, {"val_total_loss": value})

    def export(self, directory):
        save_file(dict(self.model.state_dict()), directory / "model.safetensors")


def _fit(task, home, progress=ignore_progress, team=ALONE, **settings):
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=0.05, weight_decay=0.0)
    config = Recipe(**{"epochs": 6, "seed": 3, **settings})
    return fit(task, optimizer, config, home, progress, team), optimizer


def _weights(task):
    return torch.cat([parameter.detach().flatten() for parameter in task.model.parameters()])


class StopAt:
    """A progress that raises at its n-th call, as a canceled job's heartbeat does."""

    class Stopped(BaseException):
        pass

    def __init__(self, call):
        self.left = call

    def __call__(self, message, *, epoch=None, fraction=None):
        self.left -= 1
        if self.left == 0:
            raise self.Stopped


def test_the_loss_falls_and_the_best_model_is_kept(tmp_path):
    """The exported model is the one of the best evaluation."""
    task = LineTask(dropout=0.0)
    result, _ = _fit(task, tmp_path, epochs=30)
    with (tmp_path / "training_metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["train_total_loss"]) < 0.1 * float(rows[0]["train_total_loss"])
    best = min(range(30), key=lambda row: float(rows[row]["val_total_loss"]))
    assert result.best_epoch == best + 1
    assert result.epochs_completed == 30
    assert load_file(result.best / "model.safetensors").keys() == task.model.state_dict().keys()


@pytest.mark.parametrize("call", [1, 2, 5, 6, 14, 30])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path, call):
    """Stopped before the first step, within an epoch, at an evaluation: bit-equal weights and an equal curve."""
    whole = LineTask()
    expected, _ = _fit(whole, tmp_path / "whole")
    with pytest.raises(StopAt.Stopped):
        _fit(LineTask(), tmp_path / "parts", StopAt(call))
    resumed = LineTask()
    result, _ = _fit(resumed, tmp_path / "parts")
    assert torch.equal(_weights(resumed), _weights(whole))
    assert result.resumed_at_epoch is not None
    assert result.best_metrics == expected.best_metrics
    curve = "training_metrics.csv"
    assert (tmp_path / "parts" / curve).read_text() == (tmp_path / "whole" / curve).read_text()


def test_a_run_of_many_stops_is_still_the_same(tmp_path):
    """Stops add up to nothing."""
    whole = LineTask()
    _fit(whole, tmp_path / "whole")
    for _ in range(20):
        task = LineTask()
        try:
            _fit(task, tmp_path / "parts", StopAt(3))
        except StopAt.Stopped:
            continue
        break
    assert torch.equal(_weights(task), _weights(whole))


def test_randomness_outside_is_not_disturbed(tmp_path):
    """The caller's random numbers are its own."""
    task = LineTask()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    _fit(task, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_a_seed_decides_everything(tmp_path):
    """Equal seeds give equal weights, whatever happened before."""
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(runs))
        task = LineTask()
        _fit(task, tmp_path / name, seed=seed)
        runs.append(_weights(task))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_accumulated_batches_equal_one_large_one(tmp_path):
    """Gradients are weighted by what a batch counts."""

    class OneBatch(LineTask):
        def steps(self, epoch):
            return [[[point for batch in super().steps(epoch) for point in batch[0]]]]

    apart, together = LineTask(batches_per_step=4, dropout=0.0), OneBatch(dropout=0.0)
    _fit(apart, tmp_path / "apart")
    _fit(together, tmp_path / "together")
    assert torch.allclose(_weights(apart), _weights(together), atol=1e-6)


@dataclass(frozen=True)
class Threads(Team):
    """A team within one process: its members meet at a barrier and look at one table."""

    barrier: Barrier = field(default_factory=lambda: Barrier(2))
    table: dict = field(default_factory=dict)

    def gather(self, mine):
        self.table[self.rank] = mine
        self.barrier.wait(30)
        everyones = [self.table[rank] for rank in range(self.size)]
        self.barrier.wait(30)
        return everyones

    def add_up(self, tensors):
        sums = [sum(parts) for parts in zip(*self.gather(list(tensors)), strict=True)]
        self.barrier.wait(30)
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total)
        self.barrier.wait(30)


def _fit_together(home, progress=ignore_progress, tasks=None):
    """Two members, the second in a thread; returns their tasks and how the second ended."""
    tasks = tasks or [LineTask(batches_per_step=2, dropout=0.0) for _ in range(2)]
    writer = Threads(0, 2)
    other = replace(writer, rank=1)
    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(_fit, tasks[1], home, team=other)
        try:
            _fit(tasks[0], home, progress, team=writer)
        finally:
            end = ending.exception(30)
    return tasks, end


def test_two_that_train_together_learn_what_one_learns(tmp_path):
    """Each takes half of every step; only the first leaves anything on the disk."""
    alone = LineTask(batches_per_step=2, dropout=0.0)
    _fit(alone, tmp_path / "alone")
    tasks, end = _fit_together(tmp_path / "together")
    assert [task.calls for task in tasks] == [alone.calls / 2] * 2
    assert torch.equal(_weights(tasks[0]), _weights(tasks[1]))
    assert torch.allclose(_weights(tasks[0]), _weights(alone), atol=1e-6)
    assert isinstance(end, SystemExit)
    names = [sorted(path.name for path in (tmp_path / n).iterdir()) for n in ("alone", "together")]
    assert names[0] == names[1]


def test_a_team_that_is_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    """The writer hears of it, and all end."""
    whole, _ = _fit_together(tmp_path / "whole")
    with pytest.raises(StopAt.Stopped):
        _fit_together(tmp_path / "parts", StopAt(6))
    resumed, _ = _fit_together(tmp_path / "parts")
    assert torch.equal(_weights(resumed[0]), _weights(whole[0]))
    assert torch.equal(_weights(resumed[1]), _weights(whole[1]))


def test_a_bad_loss_of_one_member_costs_all_one_step(tmp_path):
    """Nobody steps with half of the gradients."""
    tasks = [LineTask(batches_per_step=2, dropout=0.0, bad_calls=bad) for bad in ((), (2,))]
    _fit_together(tmp_path, tasks=tasks)
    assert torch.equal(_weights(tasks[0]), _weights(tasks[1]))


def test_every_member_of_a_team_gets_batches_in_every_step():
    """The number of batches to a step is rounded up."""
    assert [Recipe(epochs=1, accumulate=n).for_team(2).accumulate for n in (1, 2, 3)] == [2, 2, 4]


def test_training_stops_when_nothing_improves(tmp_path):
    """Patience counts evaluations."""

    class Hopeless(LineTask):
        def evaluate(self, poll):
            return Evaluation(1.0, {})

    result, _ = _fit(Hopeless(), tmp_path, epochs=50, patience=3)
    assert (result.epochs_completed, result.best_epoch) == (4, 1)


def test_one_bad_loss_costs_one_step(tmp_path):
    """A single loss that is no number is skipped."""
    result, _ = _fit(LineTask(bad_calls=[2]), tmp_path)
    assert result.epochs_completed == 6


def test_a_run_that_diverges_once_starts_over_at_half_the_rate(tmp_path):
    """Three bad steps in a row go back to the last state."""
    result, optimizer = _fit(LineTask(bad_calls=[9, 10, 11]), tmp_path)
    assert result.epochs_completed == 6
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * 0.05 * rate_factor(1.0, 0.1))


def test_a_run_that_keeps_diverging_fails_in_words(tmp_path):
    """A second divergence is the end."""
    with pytest.raises(TrainingDiverged, match="unstable"):
        _fit(LineTask(bad_calls=range(9, 100)), tmp_path)


def test_a_group_that_starts_later_stays_as_it_was(tmp_path):
    """Frozen layers do not move, not even by moments."""
    task = LineTask(dropout=0.0)
    first, last = task.model[0], task.model[2]
    seen = []

    def watch(message, *, epoch=None, fraction=None):
        seen.append((fraction, first.weight.item(), last.weight.item()))

    optimizer = torch.optim.AdamW(
        [
            {"params": list(first.parameters()), "starts_at": 0.5},
            {"params": list(last.parameters())},
        ],
        lr=0.05,
    )
    fit(task, optimizer, Recipe(epochs=4), tmp_path, watch)
    early = [values for fraction, *values in seen if fraction < 0.45]
    assert {weight for weight, _ in early} == {0.5}
    assert len({weight for _, weight in early}) > 3
    assert seen[-1][1] != 0.5


def test_the_rate_rises_then_falls():
    """Linear up to the peak, then down to a twentieth."""
    rates = [rate_factor(done / 100, 0.1) for done in range(1, 101)]
    assert rates.index(max(rates)) == 9
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert max(rates) == 1.0
    assert rates[-1] == pytest.approx(0.05)


def test_there_is_no_best_before_the_first_evaluation(tmp_path):
    """A stop in the first epoch leaves a state but no model."""
    assert best_so_far(tmp_path) is None
    with pytest.raises(StopAt.Stopped):
        _fit(LineTask(), tmp_path, StopAt(2))
    assert best_so_far(tmp_path) is None
    with pytest.raises(StopAt.Stopped):
        _fit(LineTask(), tmp_path, StopAt(7))
    assert best_so_far(tmp_path) is not None
