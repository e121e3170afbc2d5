"""The same training twice: our loop, and the `Trainer` of transformers as its users write it.

Both get the same clips, the same network and optimiser, batches of about the same size grouped by length.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from pipelines.asr.w2v2bert import model
from pipelines.asr.w2v2bert.config import tiny
from pipelines.asr.w2v2bert.dataset import Corpus, prepare
from pipelines.asr.w2v2bert.processor import pad
from pipelines.asr.w2v2bert.task import IGNORED_LABEL, RecogniserTask
from pipelines.asr.w2v2bert.vocabulary import Vocabulary
from pipelines.progress import ignore_progress
from pipelines.training.clips import Clip
from pipelines.training.loop import fit

EPOCHS = 4
"""The first one warms up; in ours the last one ends with an evaluation. Both are left out."""
CONFIG = replace(
    tiny(), epochs=EPOCHS, evaluate_every_epochs=EPOCHS, checkpoint_every_epochs=EPOCHS
)


def epochs_of_ours(paths: Sequence[Path], texts: Sequence[str], home: Path) -> list[float]:
    """Seconds of each epoch."""
    vocabulary, corpus = _corpus(paths, texts, home)
    recogniser = model.build(CONFIG, vocabulary)
    task = RecogniserTask(recogniser, CONFIG, corpus.features, corpus.examples, ())
    began: dict[int, float] = {}

    def note(message: str, *, epoch: int | None = None, fraction: float | None = None) -> None:
        del message, fraction
        began.setdefault(epoch or 0, time.perf_counter())

    fit(task, _optimizer(recogniser.network), CONFIG, home / "run", note)
    return [began[epoch + 1] - began[epoch] for epoch in range(1, EPOCHS - 1)]


def epochs_of_trainer(paths: Sequence[Path], texts: Sequence[str], home: Path) -> list[float]:
    """Seconds of each epoch."""
    vocabulary, corpus = _corpus(paths, texts, home)
    network = model.build(CONFIG, vocabulary).network
    rows = [
        {
            # The name under which the Trainer looks for lengths to group by.
            "input_ids": corpus.features.read(example),
            "labels": example.labels,
        }
        for example in corpus.examples
    ]
    clips_s = sum(example.duration_s for example in corpus.examples) / len(corpus.examples)
    arguments = TrainingArguments(
        output_dir=str(home / "trainer"),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=max(1, round(CONFIG.batch_s / clips_s)),
        train_sampling_strategy="group_by_length",
        max_grad_norm=CONFIG.clip_norm,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    watch = _Watch()
    Trainer(
        network,
        arguments,
        train_dataset=rows,
        data_collator=_collate,
        optimizers=(_optimizer(network), None),
        callbacks=[watch],
    ).train()
    return [
        after - before for before, after in zip(watch.began[1:-1], watch.began[2:], strict=True)
    ]


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers carries no types
    def __init__(self) -> None:
        self.began: list[float] = []

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        self.began.append(time.perf_counter())


def _corpus(paths: Sequence[Path], texts: Sequence[str], home: Path) -> tuple[Vocabulary, Corpus]:
    home.mkdir(parents=True)
    torch.manual_seed(0)
    vocabulary = Vocabulary.from_texts(texts)
    clips = [Clip(path.stem, path, text) for path, text in zip(paths, texts, strict=True)]
    return vocabulary, prepare(clips, vocabulary, CONFIG, home / "features", ignore_progress)


def _optimizer(network: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        network.parameters(), lr=1e-3, betas=(0.9, CONFIG.beta2), weight_decay=0.0
    )


def _collate(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    batch = pad([row["input_ids"] for row in rows])
    longest = max(len(row["labels"]) for row in rows)
    labels = torch.full((len(rows), longest), IGNORED_LABEL)
    for number, row in enumerate(rows):
        labels[number, : len(row["labels"])] = torch.tensor(row["labels"])
    return {"input_features": batch.features, "attention_mask": batch.mask, "labels": labels}
