"""A place to run one item at a time: the port between the pool and the kinds of processes.

    Pool ── one thread per slot ──► Slot.load() ─► Slot.run(item) … ─► Slot.unload()

A slot blocks its thread and knows no queue, no retry and no statistics; those are the pool's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runner.child_process import ChildExit, ChildProcess
from runner.errors import RunnerError, SlotDied, TaskFailed
from runner.frames import JsonObject
from runner.gpu_growth import SETTLING_READINGS, GpuBytes, GpuGrowth, gpu_bytes_of
from runner.launch import Launched, launch_exec
from runner.limits import Limits
from runner.log_pipe import Mask
from runner.peak import Peak
from runner.spec import ChildSpec
from runner.task import TaskSpec
from runner.verdict import Verdict, classify_exception

Launch = Callable[[Path, Mapping[str, str]], Launched]


class Slot(Protocol):
    """One worker's process or processes; `close` may come from another thread."""

    def load(self, on_spawned: Callable[[], None]) -> None:
        """Get ready for items; raises `SlotDied` with why that failed."""

    def run(self, item: JsonObject, timeout_s: float) -> JsonObject:
        """Run one item; raises `TaskFailed`, `TaskTimeout` or `SlotDied`."""

    def recycle_reason(self) -> str | None:
        """Why the process should be replaced before the next item; None if it need not be."""

    def unload(self) -> None:
        """End the process, politely; a next `load` starts a new one."""

    def drop(self) -> None:
        """End the item that runs, at once and with its process; the next item may have another."""

    def kill(self) -> None:
        """End whatever runs, at once, and let nothing follow."""

    @property
    def pid(self) -> int | None:
        """The process at work, if any."""

    @property
    def rss_bytes(self) -> int:
        """Its memory, as it last told; 0 if unknown."""

    @property
    def peak(self) -> Peak:
        """The most that any of its processes has held."""


@dataclass(frozen=True, slots=True)
class Recycle:
    """When a healthy worker is replaced all the same."""

    max_items: int = 1000
    max_age_s: float = 12 * 3600.0
    max_growth_bytes: int = 300 * 1024 * 1024
    max_gpu_growth: float = 0.1
    """Of what the first items took on the GPU."""
    gpu_interval_s: float = 5.0
    """Between two readings of the GPU."""
    gpu_settling: int = SETTLING_READINGS
    """Readings that show what the first items took."""

    def gpu_growth(self) -> GpuGrowth:
        """What judges one child's memory on its GPU."""
        return GpuGrowth(self.max_gpu_growth, self.gpu_interval_s, self.gpu_settling)

    def reason(self, items: int, age_s: float, gpu: GpuGrowth, grown_bytes: int) -> str | None:
        """Why a child should go, in the words of a pool's replacements; None if it may stay."""
        if items >= self.max_items:
            return "items"
        if age_s >= self.max_age_s:
            return "age"
        if gpu.is_too_much:
            return "gpu_growth"
        return "growth" if grown_bytes > self.max_growth_bytes else None


def unmasked(line: bytes) -> bytes:
    """The mask of somebody who has no secrets."""
    return line


@dataclass(frozen=True, slots=True)
class SlotSpec:
    """Everything a slot needs to start its children."""

    task: TaskSpec
    work_dir: Path
    """Each child gets a folder of its own below."""
    device: str = "cpu"
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    recycle: Recycle = field(default_factory=Recycle)
    load_timeout_s: float = 900.0
    mask: Mask = unmasked
    launch: Launch = launch_exec
    gpu_bytes: GpuBytes = gpu_bytes_of

    def payload(self) -> JsonObject:
        """What the task's child is told, whichever its entry."""
        return {
            "task": self.task.to_json(),
            "device": "cpu" if self.device == "cpu" else "cuda",
            "growth_bytes": self.recycle.max_growth_bytes,
        }

    def child(
        self,
        entry: str,
        payload: JsonObject,
        serve: Callable[[str, JsonObject], JsonObject],
        on_progress: Callable[[JsonObject], None],
        on_end: Callable[[], None],
    ) -> ChildProcess:
        """Make a child that runs one of the entries of `runner.task_child`."""
        spec = ChildSpec(
            entry=f"runner.task_child:{entry}",
            payload=payload,
            work_dir=self.work_dir,
            log_path=self.work_dir / "child.log",
            device=self.device,
            environment=self.environment,
            import_paths=self.task.import_paths,
            limits=self.limits,
        )
        return ChildProcess(
            spec,
            serve=serve,
            on_progress=on_progress,
            mask=self.mask,
            launch=self.launch,
            on_end=on_end,
        )


def failure_of(ended: ChildExit) -> RunnerError:
    """The error that an ended child means for the item it worked on."""
    error = ended.error
    if error is not None and ended.verdict is not Verdict.CANCELED:
        code = error.code or ("" if ended.verdict is Verdict.FAILED else ended.verdict.value)
        return TaskFailed(error.kind, error.message, code=code, traceback=error.traceback)
    return SlotDied(ended.verdict, ended.detail)


def failure_from(fields: JsonObject) -> TaskFailed:
    """The error that a living child reported for an item."""
    code = str(fields["code"])
    for link in fields["chain"]:
        verdict = classify_exception(str(link["kind"]), str(link["message"]))
        if verdict is not None:
            code = verdict.value
            break
    return TaskFailed(fields["kind"], fields["message"], code=code, traceback=fields["traceback"])


def load_failure(fields: JsonObject) -> SlotDied:
    """The error that a task which could not be set up means for its slot."""
    failure = failure_from(fields)
    is_known = failure.code in Verdict.__members__
    return SlotDied(Verdict(failure.code) if is_known else Verdict.FAILED, str(failure))
