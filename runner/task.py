"""A task: set up once, run many times. The one contract between executors and what they execute.

    TaskSpec ("package.module:Class", options) ── plain data, crosses processes ──► Task
                                                       setup(device) once, run(item) many times

Knows no process: inline, warm and fresh executors run the same task.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from runner.frames import JsonObject


class Task(Protocol):
    """What a task's class offers; its constructor takes the options as keyword arguments."""

    def setup(self, device: str) -> None:
        """Load what is needed, once, onto "cpu" or "cuda"."""

    def run(self, item: JsonObject) -> JsonObject:
        """Work on one item; plain JSON in and out, large data by file name."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """Names a task without importing it."""

    name: str
    """"package.module:Class"."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the class, plain JSON."""
    import_paths: tuple[Path, ...] = ()
    preload: tuple[str, ...] = ()
    """Modules worth importing before a process is needed; they must start no thread."""

    def to_json(self) -> JsonObject:
        """Plain data for a child's payload."""
        return {"name": self.name, "options": dict(self.options)}


def load_task(name: str, options: Mapping[str, Any]) -> Task:
    """Import a task's class and construct it.

    Raises:
        ImportError: no such module, or its own imports fail.
        LookupError: the module has no such class.
    """
    module_name, _, class_name = name.partition(":")
    module = importlib.import_module(module_name)
    factory = getattr(module, class_name, None)
    if not callable(factory):
        raise LookupError(f"module {module_name} has no class {class_name!r}")
    return cast(Task, factory(**options))


def extend_import_path(paths: tuple[Path, ...]) -> None:
    """Make a task's own folders importable in this process."""
    for path in reversed([str(path) for path in paths]):
        if path not in sys.path:
            sys.path.insert(0, path)
