"""What the training loop needs to know of a voice: batches, losses, fixed evaluation, export.

Axes: b batch · x tokens · t frames · r reference frames · m mel bands.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipelines.training import batching
from pipelines.training.loop import Evaluation, Loss
from pipelines.tts.stabletts.dataset import Example
from pipelines.tts.stabletts.model import Batch, Draws, Losses, StableTTS
from pipelines.tts.stabletts.reference import Reference
from pipelines.tts.stabletts.settings import TrainingConfig
from pipelines.tts.stabletts.vocabulary import Vocabulary
from pipelines.tts.stabletts.voice import FILE_NAME, Voice

MOST_CHECKED = 128
"""Training clips that are measured where none are held out."""
GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, spread evenly however many there are."""
PARTS = ("diff", "dur", "prior")

Step = tuple[batching.Batch, str]


class Averaged(nn.Module):
    """The weights in training and their running average, which is what is used in the end."""

    updates: Tensor

    def __init__(self, model: StableTTS, decay: float) -> None:
        super().__init__()
        self.model = model
        self.average = copy.deepcopy(model).requires_grad_(requires_grad=False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights: quickly at first, then slowly."""
        self.updates += 1
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)


class VoiceTask:
    """A `TrainingTask` whose batches are indices of clips plus a seed for their crops."""

    def __init__(
        self,
        model: StableTTS,
        vocabulary: Vocabulary,
        config: TrainingConfig,
        training: Sequence[Example],
        validation: Sequence[Example],
    ) -> None:
        """Take the network as it is; `move_to` puts it on its device."""
        if config.gradient_checkpointing:
            model.save_memory()
        self.networks = Averaged(model, config.average_decay)
        self.vocabulary = vocabulary
        self.config = config
        self.training = list(training)
        self.validation = list(validation)
        self.facts: dict[str, Any] = {}
        self.reference: Reference | None = None
        self._device = torch.device("cpu")
        self._dtype = torch.float32
        self._lengths = [example.frames for example in self.training]

    def move_to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Put the weights on a device; they stay float32, `dtype` is what it multiplies in."""
        self.networks.to(device)
        self._device, self._dtype = device, dtype

    def optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW that keeps the average up to date; only matrices decay."""
        model, config = self.networks.model, self.config
        embedding = [model.encoder.emb.weight]
        rest = [p for p in model.parameters() if p is not model.encoder.emb.weight]
        groups: list[dict[str, Any]] = [
            {"params": embedding, "lr": config.learning_rate * config.embedding_factor},
            {"params": [p for p in rest if p.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.dim() <= 1]},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=0.0)
        optimizer.register_step_post_hook(lambda *_: self.networks.update())
        return optimizer

    @property
    def model(self) -> nn.Module:
        """Weights and average, so that both are part of a saved state."""
        return self.networks

    @property
    def columns(self) -> Sequence[str]:
        """The columns that the editor's graph knows for synthesis."""
        return tuple(f"{of}_{part}_loss" for of in ("train", "val") for part in ("total", *PARTS))

    @property
    def padding_waste(self) -> float:
        """Share of padding in an epoch's batches."""
        return self._plan(0).padding_waste

    def steps(self, epoch: int) -> Sequence[Sequence[Step]]:
        """Shuffled batches of like length; each carries the seed of its crops."""
        steps = batching.group_steps(self._plan(epoch).batches, self.config.accumulate)
        seed = self.config.seed
        return [[(batch, f"{seed}/{epoch}/{batch[0]}") for batch in step] for step in steps]

    def loss(self, batch: Step) -> Loss:
        """Three losses under random times, noise, crops and dropped conditions."""
        indices, seed = batch
        data = collate([self.training[i] for i in indices], random.Random(seed)).to(self._device)
        losses = self._forward(self.networks.model, data, Draws.sample(data.y))
        return Loss(losses.total, float(len(indices)), _parts(losses))

    def evaluate(self, poll: Callable[[], None]) -> Evaluation:
        """Measure the average with fixed times, noise and crops, all conditions kept."""
        checked = self.validation or self.training[:MOST_CHECKED]
        sums = dict.fromkeys(("total_loss", *_names()), 0.0)
        plan = batching.plan_batches([e.frames for e in checked], self.config.frames_per_batch)
        for indices in plan.batches:
            poll()
            data = collate([checked[i] for i in indices], None).to(self._device)
            losses = self._forward(self.networks.average, data, fixed_draws(data, indices))
            for name, value in {"total_loss": losses.total.item(), **_parts(losses)}.items():
                sums[name] += value * len(indices)
        means = {name: value / len(checked) for name, value in sums.items()}
        metrics: Mapping[str, float | None] = (
            {f"val_{name}": value for name, value in means.items()} if self.validation else {}
        )
        return Evaluation(means["total_loss"], metrics)

    def export(self, directory: Path) -> None:
        """Write the voice that the average makes."""
        facts = {**self.facts, "training": asdict(self.config)}
        facts["validation_clips"] = [example.id for example in self.validation]
        voice = Voice(self.networks.average, self.vocabulary, facts, self.reference)
        voice.save(directory / FILE_NAME)

    def _plan(self, epoch: int) -> batching.BatchPlan:
        frames = self.config.frames_per_batch
        return batching.plan_epoch(self._lengths, frames, seed=self.config.seed, epoch=epoch)

    def _forward(self, model: StableTTS, data: Batch, draws: Draws) -> Losses:
        narrow = self._dtype is not torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=narrow):
            losses: Losses = model(data, draws)
        return losses


def collate(examples: Sequence[Example], dice: random.Random | None) -> Batch:
    """Pad clips to one batch.

    Args:
        examples: The clips.
        dice: Chooses the crop from which the style encoder hears the voice; the middle third
            without.
    """
    mels = [example.mel() for example in examples]
    crops = [_crop(mel, dice) for mel in mels]
    ids = [torch.tensor(example.ids) for example in examples]
    return Batch(
        pad_sequence(ids, batch_first=True),
        torch.tensor([len(row) for row in ids]),
        _pad(mels),
        torch.tensor([mel.shape[1] for mel in mels]),
        _pad(crops),
        torch.tensor([crop.shape[1] for crop in crops]),
    )


def fixed_draws(data: Batch, indices: Sequence[int]) -> Draws:
    """Return the same draws for the same clip at every evaluation, whatever its neighbours."""
    y = data.y
    times = torch.tensor([(index + 1) * GOLDEN % 1.0 for index in indices])
    noise = torch.zeros(y.shape)
    for row, (index, frames) in enumerate(zip(indices, data.y_lengths.tolist(), strict=True)):
        generator = torch.Generator().manual_seed(index)
        noise[row, :, :frames] = torch.randn((y.shape[1], frames), generator=generator)
    keep = torch.ones(len(indices), 1)
    return Draws(keep.to(y.device), times.view(-1, 1, 1).to(y.device), noise.to(y.device))


def _crop(mel: Tensor, dice: random.Random | None) -> Tensor:
    """Cut a reference of a twelfth to a third of `mel (m, t)`, as the original does."""
    frames = mel.shape[1]
    if frames < 12:
        return mel
    if dice is None:
        return mel[:, frames // 3 : frames // 3 * 2]
    length = dice.randint(frames // 12, frames // 3)
    start = dice.randint(0, frames - length)
    return mel[:, start : start + length]


def _pad(mels: Sequence[Tensor]) -> Tensor:
    """Stack `(m, t)` of different lengths as `(b, m, t)`."""
    return pad_sequence([mel.T for mel in mels], batch_first=True).transpose(1, 2).contiguous()


def _names() -> list[str]:
    return [f"{part}_loss" for part in PARTS]


def _parts(losses: Losses) -> dict[str, float]:
    values = (losses.flow, losses.duration, losses.prior)
    return {name: float(value.detach()) for name, value in zip(_names(), values, strict=True)}
