"""What the training loop needs to know of a recogniser: batches, CTC loss, evaluation, export.

Axis letters: n recordings, t encoder frames, f features, l labels, u output frames, c symbols.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.asr.w2v2bert.augment import mask_features, mask_own_features, masks_from
from pipelines.asr.w2v2bert.config import RecogniserConfig
from pipelines.asr.w2v2bert.dataset import Example, FeatureFile
from pipelines.asr.w2v2bert.model import Recogniser
from pipelines.asr.w2v2bert.processor import PaddedBatch, pad
from pipelines.asr.w2v2bert.reader import best_symbols
from pipelines.text.metrics import ErrorRates, error_rates
from pipelines.training.batching import BatchPlan, group_steps, plan_batches, plan_epoch
from pipelines.training.loop import Evaluation, Loss

IGNORED_LABEL = -100
TRAINING_FACTS, VALIDATION_CLIPS = "training.json", "validation_clips"
MOST_CHECKED = 256
"""Clips of the training set that are transcribed to measure its CER …"""
MOST_CHECKED_BESIDE_VALIDATION = 32
"""… and how many when a held-out part decides anyway."""
TIE_BREAK = 1e-3
"""Weight of the loss in the score: before the first letters appear, CER alone stands still."""


@dataclass(frozen=True, slots=True)
class Portion:
    """A batch of clips, and the seed that its masks are drawn from."""

    examples: Sequence[Example]
    seed: str


class RecogniserTask:
    """A `TrainingTask` whose batches are clips at one of their speeds."""

    def __init__(
        self,
        recogniser: Recogniser,
        config: RecogniserConfig,
        features: FeatureFile,
        training: Sequence[Example],
        validation: Sequence[Example],
    ) -> None:
        """Take the network as it is; `move_to` puts it on its device."""
        self.recogniser = recogniser
        self.config = config
        self.training = list(training)
        self.validation = list(validation)
        self._features = features
        self._rows_per_batch = round(config.batch_s / recogniser.front_end().row_s)
        self._device = torch.device("cpu")
        self._dtype = torch.float32
        if config.gradient_checkpointing:
            recogniser.save_memory()
        if config.time_masks and recogniser.hears_waves:
            mask_own_features(recogniser.network)

    def move_to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Put the weights on a device; they stay float32, `dtype` is what it multiplies in."""
        self.recogniser.network.to(device)
        self._device, self._dtype = device, dtype

    @property
    def model(self) -> nn.Module:
        """The network."""
        return self.recogniser.network

    @property
    def columns(self) -> Sequence[str]:
        """Curves: losses, error rates of the held-out part, and CER of the training part."""
        return ("train_total_loss", "val_total_loss", "val_wer", "val_cer", "train_cer")

    @property
    def padding_waste(self) -> float:
        """Share of padding in an epoch's batches."""
        return self._plan(self._takes(0), 0).padding_waste

    def steps(self, epoch: int) -> Sequence[Sequence[Portion]]:
        """Shuffled batches of like length; each carries the seed of its augmentation."""
        takes = self._takes(epoch)
        plan = self._plan(takes, epoch)
        return [
            [
                Portion([takes[index] for index in batch], f"{self.config.seed}/{epoch}/{batch[0]}")
                for batch in batches
            ]
            for batches in group_steps(plan.batches, self.config.accumulate)
        ]

    def loss(self, batch: Portion) -> Loss:
        """CTC loss per label, mean over the batch's clips."""
        with masks_from(batch.seed):
            total, _ = self._forward(batch.examples, augmentation_seed=batch.seed)
        return Loss(total, weight=len(batch.examples))

    def evaluate(self, poll: Callable[[], None]) -> Evaluation:
        """Error rates of the held-out part, if there is one, and of the training part."""
        checked = MOST_CHECKED_BESIDE_VALIDATION if self.validation else MOST_CHECKED
        sample = self.training[:: max(1, -(-len(self.training) // checked))]
        train_loss, train_rates = self._measure(sample, poll)
        if not self.validation:
            score = train_rates.cer + TIE_BREAK * train_loss
            return Evaluation(score, {"train_cer": train_rates.cer})
        loss, rates = self._measure(self.validation, poll)
        metrics: Mapping[str, float | None] = {
            "val_total_loss": loss,
            "val_wer": rates.wer,
            "val_cer": rates.cer,
            "train_cer": train_rates.cer,
        }
        return Evaluation(rates.cer + TIE_BREAK * loss, metrics)

    def export(self, directory: Path) -> None:
        """Write the model, with the settings and the held-out clips beside it."""
        self.recogniser.save(directory)
        document = {
            "config": self.config.as_json(),
            VALIDATION_CLIPS: [example.id for example in self.validation],
        }
        text = json.dumps(document, ensure_ascii=False, indent=1)
        (directory / TRAINING_FACTS).write_text(text, "utf-8")

    def _takes(self, epoch: int) -> list[Example]:
        """Every clip at the speed that this epoch draws for it."""
        dice = random.Random(f"{self.config.seed}/{epoch}")
        return [
            example.take(dice.randint(0, len(example.at_other_speeds))) for example in self.training
        ]

    def _plan(self, takes: Sequence[Example], epoch: int) -> BatchPlan:
        lengths = [example.frames for example in takes]
        return plan_epoch(lengths, self._rows_per_batch, seed=self.config.seed, epoch=epoch)

    def _measure(
        self, examples: Sequence[Example], poll: Callable[[], None]
    ) -> tuple[float, ErrorRates]:
        """Mean loss and error rates; outputs are reduced to symbols batch by batch."""
        lengths = [example.frames for example in examples]
        texts = [""] * len(examples)
        loss_sum = 0.0
        for batch in plan_batches(lengths, self._rows_per_batch).batches:
            poll()
            members = [examples[index] for index in batch]
            loss, logits = self._forward(members, augmentation_seed=None)
            loss_sum += loss.item() * len(batch)
            scores = logits.float().cpu().numpy()
            for row, index in enumerate(batch):
                frames = self.recogniser.output_frames(examples[index].frames)
                ids = best_symbols(scores[row, :frames], self.recogniser.vocabulary.blank_id)
                texts[index] = self.recogniser.vocabulary.decode(ids)
        rates = error_rates([example.text for example in examples], texts)
        return loss_sum / len(examples), rates

    def _forward(
        self, examples: Sequence[Example], *, augmentation_seed: str | None
    ) -> tuple[Tensor, Tensor]:
        """Loss (scalar) and logits (n, u, c)."""
        inputs = pad([self._features.read(example) for example in examples])
        features = inputs.features
        if augmentation_seed is not None and not self.recogniser.hears_waves:
            features = mask_features(
                features,
                [example.frames for example in examples],
                time_masks=self.config.time_masks,
                feature_masks=self.config.feature_masks,
                seed=augmentation_seed,
            )
        labels = torch.full(
            (len(examples), max(len(example.labels) for example in examples)), IGNORED_LABEL
        )
        for row, example in enumerate(examples):
            labels[row, : len(example.labels)] = torch.tensor(example.labels)
        narrow = self._dtype is not torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=narrow):
            output = self.recogniser(PaddedBatch(features, inputs.mask), labels)
        return output.loss, output.logits
