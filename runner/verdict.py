"""What ended a child: the reason codes, and the table that chooses one from what was observed.

    conversation (result, error, bye, violation) ┐
    wait status (exit code, signal)              ├─► judge() ─► Verdict + one sentence
    our own intention (cancel, kill, hang)       │
    the kernel's out-of-memory counters          ┘

Knows no process: everything arrives as plain values.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from runner.frames import JsonObject


class Verdict(StrEnum):
    """How a child ended; all but the first three are reason codes shown to people."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    """The entry raised; `ChildExit.error` says what."""
    CANCELED = "CANCELED"
    OOM_GPU = "OOM_GPU"
    OOM_HOST = "OOM_HOST"
    OOM_CGROUP = "OOM_CGROUP"
    GPU_LOST = "GPU_LOST"
    GPU_ERROR = "GPU_ERROR"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    """A library or program that the entry needs is not installed."""
    NO_PROGRESS = "NO_PROGRESS"
    CHILD_CRASH = "CHILD_CRASH"
    CHILD_PROTOCOL = "CHILD_PROTOCOL"
    INTERNAL = "INTERNAL"
    """The supervisor's own side failed; the child was ended for it."""


@dataclass(frozen=True, slots=True)
class RemoteError:
    """An exception of the child: `kind` is its class, `code` its attribute of that name or ""."""

    kind: str
    code: str
    message: str
    traceback: str

    @classmethod
    def of(cls, frame: JsonObject | None) -> Self | None:
        """What an error frame says; None without one."""
        if frame is None:
            return None
        return cls(frame["kind"], frame["code"], frame["message"], frame["traceback"])


@dataclass(frozen=True, slots=True)
class Usage:
    """What the worker process and what it waited for used."""

    max_rss_bytes: int
    user_s: float
    system_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class ChildExit:
    """The end of a child; exactly one per child."""

    verdict: Verdict
    result: JsonObject | None
    error: RemoteError | None
    cancel_reason: str | None
    exit_code: int | None
    signal: int | None
    usage: Usage
    last_lines: tuple[str, ...]
    detail: str = ""
    """One sentence for a person on what was observed; "" after success."""
    stack_dump: str = ""
    """Stacks of all threads, written by the fault handler on a crash or when the child hung."""
    unkillable: tuple[int, ...] = ()
    """Processes of the tree that survived SIGKILL: their GPU must not be used again."""


def untold_end(detail: str, cancel_reason: str | None) -> ChildExit:
    """The end of a child about which our own side failed: whoever waits must get an answer."""
    return ChildExit(
        verdict=Verdict.INTERNAL,
        result=None,
        error=None,
        cancel_reason=cancel_reason,
        exit_code=None,
        signal=None,
        usage=Usage(0, 0.0, 0.0, 0.0),
        last_lines=(),
        detail=detail,
    )


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything known about an ended child."""

    result: JsonObject | None
    error: JsonObject | None
    """The fields of the error frame."""
    said_bye: bool
    violation: str | None
    cancel_reason: str | None
    forced: tuple[Verdict, str] | None
    """Why our ladder went on to signals, with a sentence; None if it did not."""
    exit_code: int | None
    signal: int | None
    host_oom_kills: int = 0
    cgroup_oom_kills: int = 0
    entry_module: str = ""


_MESSAGE_PATTERNS: tuple[tuple[Verdict, re.Pattern[str]], ...] = (
    (Verdict.GPU_LOST, re.compile(r"fallen off the bus|GPU is lost|device is lost", re.I)),
    (
        Verdict.GPU_ERROR,
        re.compile(
            r"illegal memory access|device-side assert|\bXid\b|no kernel image|misaligned address"
            r"|uncorrectable ECC|unspecified launch failure|no CUDA-capable device"
            r"|not compiled with CUDA|Found no NVIDIA driver",
            re.I,
        ),
    ),
    (
        Verdict.OOM_GPU,
        re.compile(
            r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED"
            r"|CUDNN_STATUS_ALLOC_FAILED|CUDA failed with error out of memory",
            re.I,
        ),
    ),
    (
        Verdict.OOM_HOST,
        re.compile(
            r"DefaultCPUAllocator: (can't|not enough)|std::bad_alloc|Cannot allocate memory"
        ),
    ),
)


def judge(seen: Observed) -> tuple[Verdict, str]:
    """Choose the reason code, first match wins, with one sentence on why."""
    if seen.violation is not None:
        return Verdict.CHILD_PROTOCOL, seen.violation
    if seen.said_bye and seen.exit_code == 0:
        return _judge_words(seen)
    if seen.forced is not None:
        return seen.forced
    if seen.signal == signal.SIGKILL:
        return _judge_unexplained_kill(seen)
    if seen.cancel_reason is not None:
        return Verdict.CANCELED, seen.cancel_reason
    if seen.signal is not None:
        return Verdict.CHILD_CRASH, f"killed by {_signal_name(seen.signal)}"
    if seen.exit_code in (126, 127):
        return Verdict.MODEL_UNAVAILABLE, f"a program could not be started (exit {seen.exit_code})"
    return Verdict.CHILD_CRASH, f"exited with {seen.exit_code} without saying goodbye"


def _judge_words(seen: Observed) -> tuple[Verdict, str]:
    if seen.error is None:
        return Verdict.SUCCEEDED, ""
    if "stopped" in seen.error:
        return Verdict.CANCELED, str(seen.error["stopped"])
    first = f"{seen.error['kind']}: {seen.error['message']}".partition("\n")[0][:500]
    for link in seen.error["chain"]:
        verdict = classify_exception(str(link["kind"]), str(link["message"]))
        if verdict is not None:
            return verdict, first
    if seen.cgroup_oom_kills > 0:
        # What it says is the consequence: the kernel has taken a process that it had started.
        return Verdict.OOM_CGROUP, f"the memory limit of its group was reached; then {first}"
    is_missing = seen.error["kind"] in ("ModuleNotFoundError", "MissingExtra")
    names_the_entry = seen.error["message"] == f"No module named {seen.entry_module!r}"
    if is_missing and not names_the_entry and not seen.error["code"]:
        return Verdict.MODEL_UNAVAILABLE, first
    return Verdict.FAILED, first


def classify_exception(kind: str, message: str) -> Verdict | None:
    """Recognise memory and GPU failures by an exception's class and text."""
    if kind == "MemoryError":
        return Verdict.OOM_HOST
    if kind == "DeviceMissing":
        return Verdict.GPU_ERROR
    if kind == "OutOfMemoryError":  # torch.cuda.OutOfMemoryError
        return Verdict.OOM_GPU
    for verdict, pattern in _MESSAGE_PATTERNS:
        if pattern.search(message):
            return verdict
    return None


def _judge_unexplained_kill(seen: Observed) -> tuple[Verdict, str]:
    if seen.cgroup_oom_kills > 0:
        return Verdict.OOM_CGROUP, "killed by the kernel: the memory limit of its group was reached"
    if seen.host_oom_kills > 0:
        return Verdict.OOM_HOST, "killed by the kernel: the machine ran out of memory"
    if seen.cancel_reason is not None:
        return Verdict.CANCELED, seen.cancel_reason
    return Verdict.CHILD_CRASH, "killed by SIGKILL from outside"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
