"""How a voice is trained, as plain frozen values; saved inside the voice."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.training.recipe import Recipe
from pipelines.tts.stabletts.config import FRAMES_PER_S, ModelConfig
from pipelines.tts.stabletts.dataset import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(Recipe):
    """How to train; `model` sizes count only where there are no weights to start from."""

    epochs: int = 100
    learning_rate: float = 1e-4
    embedding_factor: float = 5.0
    """Rows of new symbols start from neighbours and must move further than the rest."""
    weight_decay: float = 0.01
    warmup_fraction: float = 0.02
    average_decay: float = 0.999
    """Share of the old average that each step keeps in the exported weights."""
    batch_s: float = 160.0
    gradient_checkpointing: bool = False
    """Compute the decoder's activations twice rather than keep them."""
    limits: Limits = field(default_factory=Limits)
    model: ModelConfig = field(default_factory=ModelConfig)

    @property
    def frames_per_batch(self) -> int:
        """`batch_s` in frames."""
        return round(self.batch_s * FRAMES_PER_S)


def tiny() -> TrainingConfig:
    """A voice from scratch that learns a few clips by heart within minutes on two cores."""
    return TrainingConfig(
        epochs=60,
        learning_rate=1e-3,
        embedding_factor=1.0,
        average_decay=0.98,
        warmup_fraction=0.05,
        batch_s=4.0,  # from scratch it is steps that are wanting, and small ones are no dearer
        evaluate_every_epochs=10,
        checkpoint_every_epochs=10,
        model=ModelConfig.tiny(),
    )
