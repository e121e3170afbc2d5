"""The jobs of a project as its page shows them: manifest, responses, loss curves, read as text.

Derives a job's state as the editor does: no folder is pending, a folder without a readable response is
running, else the response decides. Knows no HTTP, and trusts nothing it reads: foreign YAML is parsed
without tags and only plain scalars are shown.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from devserver.repository import Repository

MANIFEST_PATH = "gpu_jobs/manifest.yaml"
REPORT = "report.html"
_MAX_YAML_BYTES = 1024 * 1024
_MAX_POINTS = 400
_KNOWN_STATES = {"pending", "running", "completed", "failed", "canceled"}


@dataclass(frozen=True, slots=True)
class Curve:
    """One loss curve as points of a drawing 100 wide and 30 high."""

    name: str
    points: str
    last: float


@dataclass(frozen=True, slots=True)
class JobView:
    """One entry of the manifest and what has become of it."""

    id: str
    name: str
    description: str
    kind: str
    model: str
    submitted_at: str
    state: str
    is_canceling: bool
    epochs: str
    message: str
    error: str
    worker: str
    updated_at: datetime | None
    folder: str
    has_log: bool
    has_report: bool
    curves: tuple[Curve, ...]

    @property
    def is_open(self) -> bool:
        """Whether something may still happen."""
        return self.state in ("pending", "running")


@dataclass(frozen=True, slots=True)
class JobsView:
    """All jobs, newest first, or why there are none."""

    jobs: tuple[JobView, ...] = ()
    problem: str = ""


def read_jobs(repository: Repository, ref: str) -> JobsView:
    """Read the manifest at a ref and every job's folder."""
    manifest = repository.read_blob(ref, MANIFEST_PATH)
    if manifest is None:
        return JobsView()
    document = _load(manifest[1])
    entries = document.get("jobs")
    if not isinstance(entries, list):
        return JobsView(problem="The manifest cannot be read: it has no list of jobs.")
    files = {entry.path for entry in repository.entries(ref, "gpu_jobs", recursive=True) or ()}
    jobs = [_job(repository, ref, entry, files) for entry in entries if isinstance(entry, dict)]
    return JobsView(tuple(reversed(jobs)))


def _job(repository: Repository, ref: str, entry: dict[str, Any], files: set[str]) -> JobView:
    job_id = _text(entry.get("job_id"))
    folder = f"gpu_jobs/job_{job_id}"
    found = repository.read_blob(ref, f"{folder}/response.yaml")
    response = _load(found[1]) if found else {}
    model = entry.get("model")
    kind = " · ".join(filter(None, (_text(entry.get("job_type")), _text(entry.get("mode")))))
    state = _state(response, is_started=any(path.startswith(f"{folder}/") for path in files))
    return JobView(
        id=job_id,
        name=_text(entry.get("name")),
        description=_text(entry.get("description")),
        kind=kind.replace("_", " "),
        model=_text(model.get("type")) if isinstance(model, dict) else "",
        submitted_at=_text(entry.get("submitted_at")),
        state=state,
        is_canceling=entry.get("canceled") is True and state != "canceled",
        epochs=_epochs(entry, response),
        message=_text(response.get("status_message")),
        error=_text(response.get("error_message")),
        worker=_text(response.get("worker_id")),
        updated_at=_moment(response.get("timestamp")),
        folder=folder,
        has_log=f"{folder}/logs.txt" in files,
        has_report=f"{folder}/{REPORT}" in files,
        curves=_curves(repository.read_blob(ref, f"{folder}/checkpoint/training_metrics.csv")),
    )


def _state(response: Mapping[str, Any], *, is_started: bool) -> str:
    if not response:
        return "running" if is_started else "pending"
    state = _text(response.get("state"))
    return state if state in _KNOWN_STATES else "unknown"


def _epochs(entry: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    total, done = _text(entry.get("epochs")), _text(response.get("epochs_completed"))
    return f"{done or 0} / {total}" if total else done


def _curves(found: tuple[str, bytes] | None) -> tuple[Curve, ...]:
    """Draw training and validation loss, all curves to one scale."""
    if found is None:
        return ()
    rows = list(csv.DictReader(io.StringIO(found[1].decode("utf-8", "replace").strip())))
    series = {
        label: [(x, y) for x, row in enumerate(rows) if (y := _float(row.get(column))) is not None]
        for label, column in (("training", "train_total_loss"), ("validation", "val_total_loss"))
    }
    values = [y for points in series.values() for _, y in points]
    if len(values) < 2:
        return ()
    low, height = min(values), (max(values) - min(values)) or 1.0
    width = max(len(rows) - 1, 1)
    return tuple(
        Curve(
            label,
            " ".join(
                f"{100 * x / width:.1f},{28 - 26 * (y - low) / height:.1f}"
                for x, y in points[:: max(1, len(points) // _MAX_POINTS)]
            ),
            points[-1][1],
        )
        for label, points in series.items()
        if points
    )


def _load(content: bytes) -> Mapping[str, Any]:
    """Read foreign YAML; anything but a mapping is an empty one."""
    if len(content) > _MAX_YAML_BYTES:
        return {}
    try:
        document = yaml.load(content, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(value: object) -> str:
    """Show plain scalars only: a nested value may be of any size."""
    if isinstance(value, datetime):
        return value.isoformat()
    return (
        str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    )


def _float(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
