"""The optional stages after transcribing, as the command line wants them: what each runs, with which model.

    align ─► diarize ─► summarize

In this order: speakers are given to words at their exact times. Starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batch.errors import CannotRun
from batch.flags.stages import speaker_count
from batch.settings import BatchSettings
from gitlab_jobs.model_source import ModelUnavailable, local_base
from runner.task import TaskSpec

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional stage, and what it runs."""

    name: str
    task: TaskSpec


def chosen_extras(settings: BatchSettings) -> tuple[Extra, ...]:
    """The stages that are wanted, in their order.

    Raises:
        CannotRun: a model that is not here and cannot be fetched.
    """
    extras: list[Extra] = []
    if settings.align:
        options: dict[str, Any] = {"model": _model(settings, "--align", settings.align)}
        extras.append(_extra("align", "Align", options, "pipelines.asr.word_times"))
    if settings.diarization:
        options = {
            "diariser": settings.diarizer,
            "speakers": asdict(speaker_count(settings)),
            "longest_s": settings.diarization_max_duration,
        }
        extras.append(_extra("diarize", "Diarize", options, "torch"))
    if settings.summary:
        options = {"model": _model(settings, "--summary", settings.summary)}
        extras.append(_extra("summarize", "Summarize", options, "pipelines.llm.summarize"))
    return tuple(extras)


def _extra(name: str, task: str, options: Mapping[str, Any], *libraries: str) -> Extra:
    preload = ("batch.stages.enriching", *libraries)
    spec = TaskSpec(
        f"batch.stages.enriching:{task}", options, import_paths=(_ROOT,), preload=preload
    )
    return Extra(name, spec)


def _model(settings: BatchSettings, flag: str, name: str) -> str:
    """The model's folder on this machine: children have no network."""
    try:
        return local_base(flag.strip("-"), name, settings.cache_dir)
    except ModelUnavailable as error:
        raise CannotRun(
            f"the model {name} of {flag} is not here and cannot be fetched",
            f"give {flag} a directory, or a name that the hub has",
        ) from error
