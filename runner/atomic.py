"""Writes a small JSON file whole or not at all: a crash leaves the old one or the new one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from runner.frames import JsonObject


def write_json(path: Path, data: JsonObject) -> None:
    """Replace a file; on disk before this returns. One writer at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
