"""A tiny child that proves a GPU: the driver starts, and shows the promised device alone.

The proof is the bootstrap's own check; the entry only has to be reached. Used to win trust back.
"""

from __future__ import annotations

from pathlib import Path

from runner.channel import Channel
from runner.child_process import ChildProcess
from runner.frames import JsonObject
from runner.limits import Limits
from runner.spec import ChildSpec
from runner.verdict import ChildExit, Verdict

PROBE_TIMEOUT_S = 60.0


def reached(payload: JsonObject, channel: Channel) -> JsonObject:
    """Entry of the child: the device has been checked before this."""
    del payload, channel
    return {}


def probe_gpu(device: str, work_dir: Path, timeout_s: float = PROBE_TIMEOUT_S) -> str | None:
    """Start a child on a device; None when that went well, else what went wrong."""
    spec = ChildSpec(
        entry="runner.gpu_probe:reached",
        payload={},
        work_dir=work_dir,
        log_path=work_dir / "probe.log",
        device=device,
        limits=Limits(start_timeout_s=timeout_s),
    )
    child = ChildProcess(spec, serve=_refuse, on_progress=_ignore)
    try:
        child.start()
    except OSError as error:
        return f"no process could be started: {error}"
    ended = child.wait(timeout_s) or _end(child)
    return None if ended.verdict is Verdict.SUCCEEDED else f"{ended.verdict}: {ended.detail}"


def _end(child: ChildProcess) -> ChildExit:
    child.kill("the probe took too long")
    ended = child.wait(None)
    assert ended is not None, "an endless wait ends with an end"
    return ended


def _refuse(name: str, _payload: JsonObject) -> JsonObject:
    raise LookupError(f"a probe has nobody to ask for {name}")


def _ignore(fields: JsonObject) -> None:
    pass
