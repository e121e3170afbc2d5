"""Short ways to run one child in a test."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.child_process import ChildExit, ChildProcess, ChildSpec, Launch, Limits
from runner.launch import launch_exec

ENTRIES = "support.child_entries"
TESTS_DIR = Path(__file__).resolve().parent.parent
PATIENCE_S = 60.0
"""An upper bound for anything a test waits for; never what it measures."""

QUICK = Limits(
    grace_s=0.3, term_grace_s=0.5, heartbeat_s=0.05, progress_interval_s=0.01, serve_timeout_s=5.0
)


@dataclass
class Watched:
    """A running child and what it has told so far."""

    process: ChildProcess
    log_path: Path
    progress: list[dict[str, Any]] = field(default_factory=list)

    def end(self) -> ChildExit:
        ended = self.process.wait(PATIENCE_S)
        assert ended is not None, "the child did not end"
        return ended

    def await_progress(self) -> None:
        until(lambda: bool(self.progress))


def no_requests(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Serve a child that must not ask anything."""
    raise AssertionError(f"unexpected request {name}")


def nothing(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Serve every request with nothing."""
    return {}


def open_descriptors() -> int:
    """Count what this process holds open, but not what is garbage already.

    An earlier test's dropped object may be swept at any moment; what it held must not count before
    and be missing after.
    """
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, but not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


@contextmanager
def running(
    tmp_path: Path,
    entry: str,
    payload: dict[str, Any] | None = None,
    *,
    serve: Callable[[str, dict[str, Any]], dict[str, Any]] = no_requests,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    mask: Callable[[bytes], bytes] = bytes,
    limits: Limits = QUICK,
    launch: Launch = launch_exec,
    **options: Any,
) -> Iterator[Watched]:
    """Start a child and make sure that it is gone afterwards."""
    work_dir = tmp_path / "work"
    work_dir.mkdir(exist_ok=True)
    spec = ChildSpec(
        entry=entry if ":" in entry else f"{ENTRIES}:{entry}",
        payload=payload or {},
        work_dir=work_dir,
        log_path=tmp_path / "child.log",
        import_paths=(TESTS_DIR,),
        limits=limits,
        **options,
    )
    told: list[dict[str, Any]] = []

    def note(fields: dict[str, Any]) -> None:
        told.append(fields)
        if on_progress is not None:
            on_progress(fields)

    process = ChildProcess(spec, serve=serve, on_progress=note, mask=mask, launch=launch)
    process.start()
    try:
        yield Watched(process, spec.log_path, told)
    finally:
        process.kill("test over")
        process.wait(PATIENCE_S)


def run(
    tmp_path: Path, entry: str, payload: dict[str, Any] | None = None, **options: Any
) -> ChildExit:
    """Run a child to its end."""
    with running(tmp_path, entry, payload, **options) as child:
        return child.end()
