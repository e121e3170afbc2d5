"""What a caller says about a child before it starts; plain values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.limits import Limits


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run, where, and with how much."""

    entry: str
    """"package.module:function", imported in the child only."""
    payload: Mapping[str, Any]
    """Plain JSON, handed to the entry."""
    work_dir: Path
    log_path: Path
    device: str = "cpu"
    """"cpu", a GPU's UUID or a MIG id."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the allow-list; never put a secret here."""
    import_paths: tuple[Path, ...] = ()
    limits: Limits = field(default_factory=Limits)
