"""How a voice is trained, as plain frozen values; saved inside the voice."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.tts.stabletts.config import FRAMES_PER_S, ModelConfig
from pipelines.tts.stabletts.dataset import Limits


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train; `model` sizes count only where there are no weights to start from."""

    epochs: int = 100
    learning_rate: float = 1e-4
    embedding_factor: float = 5.0
    """Rows of new symbols start from neighbours and must move further than the rest."""
    weight_decay: float = 0.01
    warmup_fraction: float = 0.02
    clip_norm: float = 1.0
    average_decay: float = 0.999
    """Share of the old average that each step keeps in the exported weights."""
    batch_s: float = 160.0
    """Seconds of padded audio in one batch; bounds memory."""
    accumulate: int = 1
    patience: int | None = None
    evaluate_every_epochs: int = 1
    checkpoint_every_epochs: int = 1
    validation_fraction: float = 0.05
    min_validation_clips: int = 10
    limits: Limits = field(default_factory=Limits)
    precision: str = "auto"
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)

    @property
    def frames_per_batch(self) -> int:
        """`batch_s` in frames."""
        return round(self.batch_s * FRAMES_PER_S)


def tiny() -> TrainingConfig:
    """A voice from scratch that learns a few clips by heart within minutes on two cores."""
    return TrainingConfig(
        epochs=60,
        learning_rate=2e-3,
        embedding_factor=1.0,
        average_decay=0.98,
        warmup_fraction=0.05,
        batch_s=8.0,
        evaluate_every_epochs=10,
        checkpoint_every_epochs=10,
        model=ModelConfig.tiny(),
    )
