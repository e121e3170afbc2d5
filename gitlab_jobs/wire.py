"""Typed values ↔ plain JSON, for what crosses between the supervisor and a job's child.

Knows no process and no transport. Both sides use these adapters, so that a field added to a dataclass
crosses without further work, and a malformed message fails here with the field's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, with_config
from pydantic.dataclasses import dataclass

from gitlab_jobs.callbacks import JobContext, ModelChoice, ProjectData, Purpose, Stage
from gitlab_jobs.codex.changes import CellChange
from gitlab_jobs.job import JobResult

CONTEXT: TypeAdapter[JobContext] = TypeAdapter(JobContext)
PROJECT_DATA: TypeAdapter[ProjectData] = TypeAdapter(ProjectData)
MODEL_CHOICE: TypeAdapter[ModelChoice] = TypeAdapter(ModelChoice)
RESULT: TypeAdapter[JobResult] = TypeAdapter(JobResult)


@with_config({"extra": "forbid"})
@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How far the job is, in the words a user sees."""

    epochs_completed: int | None = None
    message: str | None = None


@with_config({"extra": "forbid"})
@dataclass(frozen=True, slots=True)
class EnterStage:
    """A named phase begins."""

    stage: Stage


@with_config({"extra": "forbid"})
@dataclass(frozen=True, slots=True)
class WantData:
    """Ask for the cells of a purpose."""

    purpose: Purpose


@with_config({"extra": "forbid"})
@dataclass(frozen=True, slots=True)
class WantCheckpoint:
    """Ask for a model file of the repository."""

    repository_path: str


@with_config({"extra": "forbid"})
@dataclass(frozen=True, slots=True)
class WantVoice:
    """Ask for the recording that a job's `voice_reference` means."""

    reference: str


@with_config({"extra": "forbid"})
@dataclass(frozen=True, slots=True)
class WantTraining:
    """Ask for the directory of a training's state, with what an interrupted attempt left of it."""


@with_config({"extra": "forbid"})
@dataclass(frozen=True, slots=True)
class WantModel:
    """Ask for the operator's base model of a family."""

    family: str


@with_config({"extra": "forbid"})
@dataclass(frozen=True, slots=True)
class SendFiles:
    """Publish local files at repository paths, as large objects or as plain text."""

    files: Mapping[str, Path]
    large: bool


@with_config({"extra": "forbid"})
@dataclass(frozen=True, slots=True)
class ChangeCells:
    """Change cells of one notebook."""

    notebook: str
    changes: tuple[CellChange, ...]


HEARTBEAT: TypeAdapter[Heartbeat] = TypeAdapter(Heartbeat)
REQUESTS: Mapping[str, TypeAdapter[Any]] = {
    "stage": TypeAdapter(EnterStage),
    "project_data": TypeAdapter(WantData),
    "checkpoint": TypeAdapter(WantCheckpoint),
    "voice": TypeAdapter(WantVoice),
    "training": TypeAdapter(WantTraining),
    "model": TypeAdapter(WantModel),
    "send_files": TypeAdapter(SendFiles),
    "change_cells": TypeAdapter(ChangeCells),
}
"""Every request a child may make, by name. Progress is a frame of its own and needs no answer."""


def pack(adapter: TypeAdapter[Any], value: Any) -> dict[str, Any]:
    """A value as a JSON object."""
    packed = adapter.dump_python(value, mode="json")
    if not isinstance(packed, dict):
        raise TypeError(f"{type(value).__name__} does not cross as an object")
    return packed
