"""The settings of a Wav2Vec2-BERT recogniser and of its training, as plain frozen values.

`tiny()` is a small encoder from scratch, so that any job can be tried on a laptop; `standard()` is the
published recipe for `facebook/w2v-bert-2.0`. Saved as `training.json` inside every checkpoint.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from pipelines.asr.corrector.kinds import CorrectorKind
from pipelines.training.recipe import Recipe

SAMPLE_RATE_HZ = 16_000
FRAME_S = 0.02
"""The feature extractor stacks two 10 ms mel frames into one of 160 values."""
ADAPTER_STRIDE = 2
"""The adapter halves the frame rate: one CTC output every 40 ms."""

SHORT_CORPUS_S = 30 * 60.0
"""With less speech than this, the new layers learn alone at first."""
SMALL_CORPUS_S = 60 * 60.0
"""With less speech than this, the encoder learns more slowly, and clips are varied in speed."""


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """A Conformer encoder to be built from scratch, with the base model's relative positions or none.

    Its convolutions see order too; checkpoints without positions keep working.
    """

    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    convolution_kernel: int
    relative_positions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserConfig(Recipe):
    """How to train; `encoder` None means: start from a directory with base weights."""

    encoder: EncoderShape | None
    learning_rate: float
    new_layer_factor: float = 1.0
    """The adapter's and the head's rate, relative to the top of the encoder."""
    layer_decay: float = 1.0
    """Each lower layer of the encoder learns this much more slowly than the one above."""
    head_first_fraction: float = 0.0
    """Share of the run in which only the adapter and the head learn."""
    beta2: float = 0.98
    time_masks: int = 0
    """SpecAugment: spans of up to `MASK_S` that are blanked per clip."""
    feature_masks: int = 0
    """SpecAugment: bands of mel bins that are blanked per clip."""
    speeds: tuple[float, ...] = ()
    """Other speeds at which training clips are heard; each epoch draws one per clip."""
    min_clip_s: float = 0.5
    max_clip_s: float = 30.0
    gradient_checkpointing: bool = False
    corrector: CorrectorKind | None = None
    """The text corrector that is trained after the recogniser (a job's `transmorgrifier`), if any."""

    def fitted_to(self, corpus_s: float) -> RecogniserConfig:
        """Adjust a recipe that starts from base weights to the amount of speech."""
        if self.encoder is not None:
            return self
        rate = min(self.learning_rate, 3e-5) if corpus_s < SMALL_CORPUS_S else self.learning_rate
        head_first = 0.1 if corpus_s < SHORT_CORPUS_S else self.head_first_fraction
        speeds = (0.9, 1.1) if corpus_s < SMALL_CORPUS_S else self.speeds
        return replace(self, learning_rate=rate, head_first_fraction=head_first, speeds=speeds)

    def as_json(self) -> dict[str, Any]:
        """Plain values for `training.json`."""
        return asdict(self)


def tiny() -> RecogniserConfig:
    """A recogniser that learns twenty clips by heart within a minute on two cores."""
    return RecogniserConfig(
        encoder=EncoderShape(
            hidden_size=96,
            layers=2,
            heads=4,
            intermediate_size=256,
            convolution_kernel=15,
            relative_positions=True,
        ),
        epochs=34,
        learning_rate=3e-3,
        warmup_fraction=0.05,
        batch_s=24.0,
        evaluate_every_epochs=5,
        checkpoint_every_epochs=5,
    )


def standard() -> RecogniserConfig:
    """The recipe for a pre-trained encoder of 24 layers.

    Rates, warm-up, CTC settings and the effective batch of about 32 clips follow the published
    fine-tuning recipe of W2v-BERT 2.0; lower layers move less, since their features are general.
    """
    return RecogniserConfig(
        encoder=None,
        epochs=30,
        learning_rate=5e-5,
        new_layer_factor=2.0,
        layer_decay=0.97,
        batch_s=80.0,
        accumulate=4,
        patience=8,
        validation_fraction=0.08,
        min_validation_clips=20,
        time_masks=2,
        feature_masks=1,
        gradient_checkpointing=True,
    )
