"""Eight ways in which a child runs out of memory or crashes, each really done by a real child, and what we must call it.

`benchmarks.runner` counts how many are told right; the tests look closer. Two of the eight need control groups
(`runner.cgroup`): the kernel has to be the killer. A machine without them is told so, never passed over.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.cgroup import process_groups
from runner.child import Channel
from runner.child_process import ChildExit, ChildProcess, ChildSpec, Limits, Verdict
from runner.group import Group
from runner.marker import Marker

ROOT = Path(__file__).resolve().parent.parent
LIMIT_BYTES = 150 << 20
_CHUNK_BYTES = 4 << 20
_QUICK = Limits(grace_s=0.3, term_grace_s=0.5, heartbeat_s=0.05)

Item = dict[str, Any]


@dataclass(frozen=True)
class End:
    """One way to end, and the only right name for it."""

    name: str
    entry: str
    verdict: Verdict
    limits: Limits = _QUICK
    payload: Item = field(default_factory=dict)
    needs_groups: bool = False
    has_stacks: bool = False


ENDS = (
    End("GPU full, in PyTorch's class and words", "fill_gpu", Verdict.OOM_GPU),
    End(
        "MemoryError under an address space limit",
        "fill_memory",
        Verdict.OOM_HOST,
        replace(_QUICK, address_space_bytes=400 << 20),
    ),
    End("PyTorch's allocator on the CPU", "fill_tensors", Verdict.OOM_HOST),
    End(
        "killed by the kernel at the limit of its own group",
        "fill_memory",
        Verdict.OOM_CGROUP,
        replace(_QUICK, memory_bytes=LIMIT_BYTES),
        needs_groups=True,
    ),
    End(
        "killed by the kernel, which only the machine's counter tells",
        "fill_memory_elsewhere",
        Verdict.OOM_HOST,
        replace(_QUICK, has_group=False),
        needs_groups=True,
    ),
    End("segmentation fault", "crash", Verdict.CHILD_CRASH, has_stacks=True),
    End(
        "hang with the interpreter lock held",
        "hang",
        Verdict.NO_PROGRESS,
        replace(_QUICK, heartbeat_timeout_s=2.0, dump_grace_s=0.5),
        has_stacks=True,
    ),
    End("bytes that are no frame", "talk_nonsense", Verdict.CHILD_PROTOCOL),
)


def end_of(end: End, home: Path) -> ChildExit:
    """Have a child end in this way."""
    with _elsewhere(end) as folders:
        spec = ChildSpec(
            entry=f"{__name__}:{end.entry}",
            payload=end.payload | {"folders": folders},
            work_dir=home,
            log_path=home / "child.log",
            import_paths=(ROOT,),
            limits=end.limits,
        )
        child = ChildProcess(spec, serve=_refuse, on_progress=_ignore)
        child.start()
        ended = child.wait(100)
        if ended is None:
            child.kill("it did not end")
            raise TimeoutError(f"{end.name}: the child did not end")
        return ended


@contextmanager
def _elsewhere(end: End) -> Iterator[list[str]]:
    """A limited group that the child's supervisor knows nothing about."""
    groups = process_groups()
    group: Group | None = None
    if end.entry == "fill_memory_elsewhere" and groups is not None:
        group = groups.make(Marker.new(), Limits(memory_bytes=LIMIT_BYTES))
    try:
        yield group.to_json() if group is not None else []
    finally:
        if group is not None:
            group.remove()


def _refuse(name: str, _payload: Item) -> Item:
    raise LookupError(f"there is nobody to ask for {name}")


def _ignore(fields: Item) -> None:
    pass


# Entries of the children.


def fill_gpu(_payload: Item, _channel: Channel) -> Item:
    """Fill a real GPU if there is one; else raise what PyTorch raises then."""
    import torch

    if torch.cuda.is_available():
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 5 GiB")


def fill_tensors(_payload: Item, _channel: Channel) -> Item:
    """Ask PyTorch for more than any machine has."""
    import torch

    return {"size": torch.empty(1 << 50, dtype=torch.uint8).numel()}


def fill_memory(_payload: Item, _channel: Channel) -> Item:
    """Take memory and touch it, slowly enough to be seen, until somebody says no."""
    kept = []
    while True:
        kept.append(b"x" * _CHUNK_BYTES)
        time.sleep(0.005)


def fill_memory_elsewhere(payload: Item, channel: Channel) -> Item:
    """Do so in a group that the supervisor did not make."""
    if not payload["folders"]:
        raise RuntimeError("this machine lends no control groups")
    Group(tuple(map(Path, payload["folders"]))).join()
    return fill_memory(payload, channel)


def crash(_payload: Item, _channel: Channel) -> Item:
    """Read from address 1."""
    ctypes.string_at(1)
    return {}


def hang(_payload: Item, _channel: Channel) -> Item:
    """Block in C with the interpreter lock held."""
    time.sleep(0.3)
    libc = ctypes.PyDLL(None)  # PyDLL keeps the interpreter lock during the call
    mutex = ctypes.create_string_buffer(64)  # zeros are a fresh pthread mutex
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)
    return {}


def talk_nonsense(_payload: Item, _channel: Channel) -> Item:
    """Write to the one socket that a child has: the channel."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # what listed the folder is gone
            if str(entry.readlink()).startswith("socket:"):
                os.write(int(entry.name), b"GET / HTTP/1.1\r\n\r\n")
    time.sleep(10)
    return {}
