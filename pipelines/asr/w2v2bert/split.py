"""Which clips a recogniser is measured on: whole chapters, of every book, and for good.

The choice is stored in the checkpoint. A training that goes on from it keeps those clips apart, or
it would be measured on what its first half has learnt by heart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.asr.w2v2bert.config import RecogniserConfig
from pipelines.asr.w2v2bert.dataset import Example
from pipelines.asr.w2v2bert.task import TRAINING_FACTS, VALIDATION_CLIPS
from pipelines.training.holdout import hold_out


def split(
    examples: Sequence[Example], config: RecogniserConfig, start: Path | None
) -> tuple[list[Example], list[Example]]:
    """Examples to train on and to measure on; `start` is the model that the training goes on from."""
    earlier = _held_out_earlier(start)
    held = [index for index, example in enumerate(examples) if example.id in earlier]
    if not config.min_validation_clips <= len(held) <= len(examples) // 2:
        _, held = hold_out(
            [example.group for example in examples],
            config.validation_fraction,
            config.min_validation_clips,
            config.seed,
            books=[example.book for example in examples],
        )
    chosen = set(held)
    learnt = {example.digest for index, example in enumerate(examples) if index not in chosen}
    # One recording for two verses: measured on what it has heard, it would look better than it is.
    chosen = {index for index in chosen if examples[index].digest not in learnt}
    training = [example for index, example in enumerate(examples) if index not in chosen]
    return training, [examples[index] for index in held if index in chosen]


def _held_out_earlier(start: Path | None) -> frozenset[str]:
    """None where the model was made by somebody else, or held nothing out."""
    if start is None or not (start / TRAINING_FACTS).exists():
        return frozenset()
    try:
        document: Any = json.loads((start / TRAINING_FACTS).read_text("utf-8"))
        return frozenset(map(str, document[VALIDATION_CLIPS]))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()
