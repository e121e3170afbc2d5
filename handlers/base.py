"""What a handler is, and how two halves make a third. Light: imports no model library.

A handler is one file with `run`. The halves of a model are plain functions as well, so that
`training_and_inference` is their composition and not a copy of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from gitlab_jobs.callbacks import JobCallbacks, JobContext
from gitlab_jobs.job import JobResult
from pipelines.progress import Progress
from pipelines.report.parts import Part


@runtime_checkable
class HandlerModule(Protocol):
    """A module below `handlers/<type>/<model>/`."""

    def run(self, job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
        """Do the whole job; returns when everything has been handed to `callbacks`."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training half made: a model (a file or directory here), and the job's result so far.

    `parts` are what it has to say in the job's report; the inference half goes on from there.
    """

    model: Path
    result: JobResult
    parts: Sequence[Part] = ()


Run = Callable[[JobContext, JobCallbacks], JobResult]
TrainingHalf = Callable[[JobContext, JobCallbacks], Trained]
InferenceHalf = Callable[[JobContext, JobCallbacks, Path, Sequence[Part]], JobResult]


def train_then_infer(train: TrainingHalf, infer: InferenceHalf) -> Run:
    """Compose `run` for a job that trains a model and then uses it at once."""

    def run(job_context: JobContext, callbacks: JobCallbacks) -> JobResult:
        trained = train(job_context, callbacks)
        inferred = infer(job_context, callbacks, trained.model, trained.parts)
        first = trained.result
        return JobResult(
            checkpoint_path=first.checkpoint_path,
            epochs_completed=first.epochs_completed,
            summary=" ".join(filter(None, (first.summary, inferred.summary))),
            facts={**first.facts, **inferred.facts},
        )

    return run


class Heartbeat:
    """`pipelines.progress.Progress` over a job's callbacks; raises there when the job must stop."""

    def __init__(self, callbacks: JobCallbacks) -> None:
        """Remember whom to tell."""
        self._callbacks = callbacks

    def __call__(
        self, message: str, *, epoch: int | None = None, fraction: float | None = None
    ) -> None:
        """Pass a message on; shares of an epoch are of no interest to the editor."""
        del fraction
        self._callbacks.heartbeat(epoch, message)

    def saying(self, sentence: str) -> Progress:
        """The same with one sentence throughout, for a step that does not see the whole."""

        def progress(
            message: str, *, epoch: int | None = None, fraction: float | None = None
        ) -> None:
            del message
            self(sentence, epoch=epoch, fraction=fraction)

        return progress
