"""The config frame: the first and only thing a child is told before it starts to work.

Knows no process; both sides read and write it.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.frames import JsonObject
from runner.limits import Limits


@dataclass(frozen=True, slots=True)
class Orders:
    """The config frame: what the parent wants done and over which descriptors."""

    entry: str
    payload: JsonObject
    import_paths: tuple[str, ...]
    device: str
    limits: Limits
    parent_pid: int
    dump_fd: int
    report_fd: int
    group: tuple[str, ...]
    """The folders of the control group to join; empty where there is none."""

    def to_json(self) -> JsonObject:
        """Plain data for the config frame."""
        return {
            "entry": self.entry,
            "payload": self.payload,
            "import_paths": list(self.import_paths),
            "device": self.device,
            "limits": self.limits.to_json(),
            "parent_pid": self.parent_pid,
            "dump_fd": self.dump_fd,
            "report_fd": self.report_fd,
            "group": list(self.group),
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Orders:
        """Read what `to_json` wrote."""
        return cls(
            entry=data["entry"],
            payload=data["payload"],
            import_paths=tuple(data["import_paths"]),
            device=data["device"],
            limits=Limits.from_json(data["limits"]),
            parent_pid=data["parent_pid"],
            dump_fd=data["dump_fd"],
            report_fd=data["report_fd"],
            group=tuple(data["group"]),
        )
