"""Manifests as the editor writes them, and as tests vary them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gitlab_jobs.yaml_text import dump_yaml

_FOLDER = Path(__file__).parents[1] / "data" / "manifests"
EXAMPLES = {path.stem: path.read_text(encoding="utf-8") for path in _FOLDER.glob("*.yaml")}
"""What the editor emits, by name: one file per wizard path."""


def entry(**changes: Any) -> dict[str, Any]:
    """A valid job entry with some fields changed."""
    return {
        "job_id": "mmkbkzk0_sx1fl0nwmy",
        "job_type": "tts",
        "mode": "training",
        "submitted_at": "2026-03-10T08:00:00.000Z",
        "model": {"type": "StableTTS"},
        "epochs": 100,
        "canceled": False,
        **changes,
    }


def manifest_of(*entries: Any) -> bytes:
    """A manifest with these entries."""
    return dump_yaml({"version": 1, "jobs": list(entries)})
